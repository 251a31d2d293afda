# SOSI-GW. `make help` lists the targets.

# ---------------------------------------------------------------------------------------------
# The architecture: for each library, what it may include and call. Downward only; a library is
# compiled with the include path of these alone, and its unit tests link these archives alone.
# Order: bottom to top.
LIBS := base  fcgi xml dsig pki http db cache html  conf soap idcard sts cards access audit cluster \
	web signing edge  proxy ops sign keep ctl

USES_base    :=
USES_fcgi    := base
USES_xml     := base
USES_dsig    := xml base
USES_pki     := base
USES_http    := base
USES_db      := base
USES_cache   := base
USES_html    := base
# domain
USES_conf    := db base
USES_soap    := xml base
USES_idcard  := pki dsig xml base
USES_sts     := idcard soap conf http db pki dsig xml base
USES_cards   := idcard conf cache db pki dsig xml base
USES_access  := conf db base
USES_audit   := conf db base
USES_cluster := conf db base
USES_web     := html fcgi base
USES_signing := cards sts idcard soap conf http cache db pki dsig xml base
USES_edge    := cluster audit access cards soap conf http fcgi cache db idcard pki dsig xml base
# applications
USES_proxy   := edge signing cluster audit access cards sts idcard soap conf http fcgi cache db pki dsig xml base
USES_ops     := web html $(USES_proxy)
USES_sign    := web html $(USES_proxy)
USES_keep    := cluster audit cards idcard conf http cache db pki dsig xml base
USES_ctl     := cluster audit cards access idcard conf cache db pki dsig xml base

PROGRAMS := proxy card housekeeper sosigwctl
USES_prog_proxy       := proxy $(USES_proxy)
USES_prog_card        := ops sign $(USES_ops)
USES_prog_housekeeper := keep $(USES_keep)
USES_prog_sosigwctl   := ctl $(USES_ctl)

# ---------------------------------------------------------------------------------------------
SAN ?=
CC := gcc
OPT := -O2 -g
ifeq ($(SAN),address)
OPT := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
else ifeq ($(SAN),undefined)
OPT := -O1 -g -fsanitize=undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
else ifeq ($(SAN),thread)
OPT := -O1 -g -fsanitize=thread -fno-omit-frame-pointer
else ifneq ($(SAN),)
$(error SAN is address, undefined or thread)
else
HARDEN := -D_FORTIFY_SOURCE=2
endif
B := build/$(or $(SAN),plain)

VERSION := 0.1.0
PACKAGES := fcgi libxml-2.0 xmlsec1-openssl openssl libpq libmemcached libcurl jansson
# libfcgi has no .pc file in Debian 12, nor has inih under that name
CFLAGS_ALL := -std=c11 -D_GNU_SOURCE -DSOSIGW_VERSION='"$(VERSION)"' $(OPT) $(HARDEN) \
	-Wall -Wextra -Werror -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wpointer-arith \
	-Wwrite-strings -Wcast-qual -Wformat=2 -Wno-format-nonliteral -Wvla \
	-fstack-protector-strong -fPIE -pthread -MMD -MP \
	$(filter-out -DXMLSEC_DL_LIBLTDL=1,$(shell pkg-config --cflags libxml-2.0 xmlsec1-openssl openssl libpq libcurl jansson 2>/dev/null))
LDFLAGS_ALL := $(OPT) -pie -pthread -Wl,-z,relro,-z,now
LDLIBS_ALL := -lfcgi -lxmlsec1-openssl -lxmlsec1 -lxml2 -lcurl -lpq -lmemcached -ljansson -linih -lssl -lcrypto

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:

OTHER_FORMATS := previous next

# ---- libraries
define library
SRC_$(1) := $$(wildcard lib/$(1)/*.c)
OBJ_$(1) := $$(SRC_$(1):%.c=$(B)/%.o) $$(patsubst %.html,$(B)/%.html.o,$$(wildcard lib/$(1)/*.html))
$$(OBJ_$(1)) $$(foreach f,$(OTHER_FORMATS),$$(SRC_$(1):%.c=$(B)/$$(f)/%.o)): INCLUDES := -Ilib/$(1) $$(USES_$(1):%=-Ilib/%)
$(B)/lib$(1).a: $$(OBJ_$(1))
	@rm -f $$@
	$$(Q)ar rcs $$@ $$^

TEST_SRC_$(1) := $$(wildcard tests/unit/$(1)/test_*.c)
TEST_BIN_$(1) := $$(TEST_SRC_$(1):%.c=$(B)/%)
$$(TEST_SRC_$(1):%.c=$(B)/%.o): INCLUDES := -Ilib/$(1) $$(USES_$(1):%=-Ilib/%) -Itests/unit
$$(TEST_BIN_$(1)): %: %.o $(B)/lib$(1).a $$(USES_$(1):%=$(B)/lib%.a)
	$$(Q)$$(CC) $$(LDFLAGS_ALL) -o $$@ $$^ $$(LDLIBS_ALL) -lcmocka
UNIT_TESTS += $$(TEST_BIN_$(1))
# `make check-xml` builds and runs the unit tests of one library
.PHONY: check-$(1)
check-$(1): $$(TEST_BIN_$(1))
	@tests/run-unit $$^

FUZZ_SRC_$(1) := $$(wildcard tests/fuzz/$(1)_*.c)
$$(FUZZ_SRC_$(1):%.c=$(B)/%.o): INCLUDES := -Ilib/$(1) $$(USES_$(1):%=-Ilib/%) -Itests/fuzz
$$(FUZZ_SRC_$(1):%.c=$(B)/%): %: %.o $(B)/tests/fuzz/replay.o $(B)/lib$(1).a $$(USES_$(1):%=$(B)/lib%.a)
	$$(Q)$$(CC) $$(LDFLAGS_ALL) -o $$@ $$^ $$(LDLIBS_ALL)
FUZZ_BINS += $$(FUZZ_SRC_$(1):%.c=$(B)/%)
endef

Q := @
UNIT_TESTS :=
FUZZ_BINS :=
$(foreach l,$(LIBS),$(eval $(call library,$(l))))

$(B)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  cc $<"
	$(Q)$(CC) $(CFLAGS_ALL) $(INCLUDES) -c -o $@ $<

# ---- pages: lib/X/page.html is part of library X, as the C function that lib/html/compile makes of it
HTML_COMPILE := $(B)/tools/html-compile
HTML_COMPILE_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard lib/html/compile/*.c))
$(HTML_COMPILE_OBJ): INCLUDES := -Ilib/html/compile -Ilib/html -Ilib/base
$(HTML_COMPILE): $(HTML_COMPILE_OBJ) $(B)/libhtml.a $(B)/libbase.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ -lcrypto
$(B)/gen/%.html.c: %.html $(HTML_COMPILE)
	@mkdir -p $(@D)
	$(Q)$(HTML_COMPILE) $< > $@
$(B)/%.html.o: $(B)/gen/%.html.c
	@mkdir -p $(@D)
	@echo "  cc $*.html"
	$(Q)$(CC) $(CFLAGS_ALL) $(INCLUDES) -c -o $@ $<
.PRECIOUS: $(B)/gen/%.html.c
# The signing page names the hash of its script: a browser runs htdocs/signer.js when it is that file, and no other. The hash is in the
# address too, or a browser would try the script of the release before, which it may keep for some minutes.
SIGNER_HASH := htdocs/signer.js.sha384
$(B)/gen/lib/sign/page.html.c: lib/sign/page.html $(SIGNER_HASH) $(HTML_COMPILE)
	@mkdir -p $(@D)/signer
	$(Q)hash=$$(sed 's/^sha384-//' $(SIGNER_HASH)); \
		sed "s|@SIGNER_INTEGRITY@|sha384-$$hash|; s|@SIGNER_VERSION@|$$(echo "$$hash" | tr '+/' '-_' | cut -c 1-16)|" $< > $(@D)/signer/page.html
	$(Q)$(HTML_COMPILE) $(@D)/signer/page.html > $@
$(B)/tests/unit/html/test_compile.o: INCLUDES += -Ilib/html/compile
$(B)/tests/unit/html/test_compile: $(B)/lib/html/compile/compile.o
# which stands behind the archives, so they come once more
$(B)/tests/unit/html/test_compile: LDLIBS_ALL := $(B)/libhtml.a $(B)/libbase.a $(LDLIBS_ALL)

# ---- files that are part of a program: each as a C string behind the query that asks for it
WSDL_FILES := $(wildcard lib/ops/wsdl/*)
$(B)/gen/wsdl_files.h: $(WSDL_FILES)
	@mkdir -p $(@D)
	$(Q)for f in $^; do \
		name=$$(basename $$f); \
		case $$name in *.wsdl) query=wsdl;; *) query=xsd=$${name%.xsd};; esac; \
		printf '{ "%s",\n' "$$query"; \
		sed 's/\\/\\\\/g; s/"/\\"/g; s/^/"/; s/$$/\\n"/' "$$f"; \
		echo '},'; \
	done > $@
$(B)/lib/ops/describe.o: $(B)/gen/wsdl_files.h
$(B)/lib/ops/describe.o: CFLAGS_ALL += -I$(B)/gen -Wno-overlength-strings

# ---- programs
define program
$(B)/fcgi-bin/$(1).o: INCLUDES := $$(USES_prog_$(1):%=-Ilib/%)
$(B)/bin/$(1): $(B)/fcgi-bin/$(1).o $$(USES_prog_$(1):%=$(B)/lib%.a)
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(LDFLAGS_ALL) -o $$@ $$^ $$(LDLIBS_ALL)
endef
$(foreach p,$(PROGRAMS),$(eval $(call program,$(p))))
PROGRAM_BINS := $(PROGRAMS:%=$(B)/bin/%)

# ---- the same programs one format back and one ahead (lib/base/formats.h), for the tests of rolling upgrades: what
# includes formats.h is compiled again, the rest is the same object
FORMAT_SRC := $(shell grep -ls '"formats.h"' lib/*/*.c)
STEP_previous := -1
STEP_next := 1
define other_format
$(B)/$(1)/%.o: %.c
	@mkdir -p $$(@D)
	@echo "  cc $$< ($(1) format)"
	$$(Q)$$(CC) $$(CFLAGS_ALL) -DFORMAT_STEP=$(STEP_$(1)) $$(INCLUDES) -c -o $$@ $$<
$(foreach p,$(PROGRAMS),$(B)/$(1)/bin/$(p)): $(B)/$(1)/bin/%: $(B)/fcgi-bin/%.o
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(LDFLAGS_ALL) -o $$@ $$^ $$(LDLIBS_ALL)
$(foreach p,$(PROGRAMS),$(eval $(B)/$(1)/bin/$(p): $(foreach l,$(USES_prog_$(p)),$(patsubst %.c,$(B)/$(1)/%.o,$(filter lib/$(l)/%,$(FORMAT_SRC)))) \
	$(USES_prog_$(p):%=$(B)/lib%.a)))
endef
$(foreach f,$(OTHER_FORMATS),$(eval $(call other_format,$(f))))

# ---- the world that tests and the sandbox need
WORLD_SRC := $(wildcard tests/world/*.c)
WORLD_BINS := $(WORLD_SRC:tests/world/%.c=$(B)/world/%)
$(WORLD_SRC:%.c=$(B)/%.o): INCLUDES := -Itests/world
$(WORLD_BINS): $(B)/world/%: $(B)/tests/world/%.o
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS_ALL)

BENCH_SRC := $(wildcard tests/bench/*.c)
BENCH_BINS := $(BENCH_SRC:tests/bench/%.c=$(B)/bench/%)
$(BENCH_SRC:%.c=$(B)/%.o): INCLUDES := -Itests/bench -Ilib/cache -Ilib/base
$(BENCH_BINS): $(B)/bench/%: $(B)/tests/bench/%.o $(B)/libcache.a $(B)/libbase.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS_ALL)

# what the browser tests ask about what a page has posted
JUDGE_SRC := $(wildcard tests/browser/*.c)
JUDGE_BINS := $(JUDGE_SRC:tests/browser/%.c=$(B)/browser/%)
$(JUDGE_SRC:%.c=$(B)/%.o): INCLUDES := -Ilib/signing $(USES_signing:%=-Ilib/%)
$(JUDGE_BINS): $(B)/browser/%: $(B)/tests/browser/%.o $(B)/libsigning.a $(USES_signing:%=$(B)/lib%.a)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS_ALL)

-include $(shell find $(B) -name '*.d' 2>/dev/null)

# ---------------------------------------------------------------------------------------------
.PHONY: all deps demo test test-built browser-all formats check fuzz fuzz-replay bench chaos lint format clean help install world man signer

all: $(PROGRAM_BINS) $(WORLD_BINS) $(JUDGE_BINS)	## build everything into build/plain (SAN=address|undefined|thread: build/<SAN>)

world: $(WORLD_BINS)

formats: $(foreach f,$(OTHER_FORMATS),$(PROGRAMS:%=$(B)/$(f)/bin/%))	## the programs of the format before and the one after

deps:	## install the Debian packages that are missing (as root)
	@scripts/install-deps

# The packages may come only with `deps`, and make reads pkg-config before that: hence the second make.
demo: deps	## the main job on real messages, in a sandbox on loopback
	@$(MAKE) --no-print-directory all
	@SOSIGW_BUILD=$(B) scripts/demo

test:	## everything that proves it; the last line is "N passed, N failed"
	@scripts/install-deps --browser
	@$(MAKE) --no-print-directory test-built

test-built: all formats $(UNIT_TESTS) $(FUZZ_BINS)
	@SOSIGW_BUILD=$(B) tests/run-all $(UNIT_TESTS) -- $(FUZZ_BINS)

browser-all:	## the tests of the signing page in Firefox and in WebKit too, Safari's engine; a quarter of an hour
	@scripts/install-deps --browser --browser-all
	@$(MAKE) --no-print-directory all
	@SOSIGW_BUILD=$(B) tests/browser/run --engine firefox --engine webkit

check: $(UNIT_TESTS)	## the unit tests alone; seconds
	@tests/run-unit $^

fuzz-replay: $(FUZZ_BINS)	## every fuzz target over its kept corpus
	@tests/fuzz/replay-all $^

fuzz:	## run one fuzz target with libFuzzer: make fuzz TARGET=soap_head SECONDS=3600
	@scripts/install-deps --fuzz
	@tests/fuzz/run "$(TARGET)" "$(or $(SECONDS),60)"

bench:	## speed and memory, as ratios against other programs in the same run
	@scripts/install-deps --bench --browser
	@$(MAKE) --no-print-directory all $(BENCH_BINS)
	@SOSIGW_BUILD=$(B) tests/bench/run
	@SOSIGW_BUILD=$(B) tests/browser/run --bench

chaos: deps	## three servers under load, and one thing after another dies; a quarter of an hour
	@$(MAKE) --no-print-directory all formats
	@SOSIGW_BUILD=$(B) tests/chaos/run

lint:	## cppcheck, clang-tidy, guards
	@scripts/install-deps --lint
	@scripts/lint

format:	## clang-format over the C sources
	@clang-format -i $$(git ls-files '*.c' '*.h')

signer:	## rebuild htdocs/signer.js of htdocs/signer-src (needs Node and the npm registry)
	@scripts/build-signer

man: build/sosigwctl.1	## the manual page
build/sosigwctl.1: docs/man/sosigwctl.1.scd
	@mkdir -p $(@D)
	scdoc < $< > $@

# Nothing that a site writes is touched: that is in /etc/sosigw and /etc/apache2/conf-available/sosigw-site.conf.
install: $(PROGRAM_BINS) build/sosigwctl.1	## install what a host runs, as docs/administration.md says; DESTDIR=DIR: below DIR
	install -D -t $(DESTDIR)/usr/lib/sosigw $(filter-out %/sosigwctl,$(PROGRAM_BINS))
	install -D -t $(DESTDIR)/usr/bin $(filter %/sosigwctl,$(PROGRAM_BINS))
	install -D -m 644 -t $(DESTDIR)/usr/share/sosigw/schema $(wildcard schema/*.sql)
	install -d $(DESTDIR)/usr/share/sosigw/htdocs
	cp -r $(filter-out htdocs/signer-src,$(wildcard htdocs/*)) $(DESTDIR)/usr/share/sosigw/htdocs
	chmod -R a+rX $(DESTDIR)/usr/share/sosigw/htdocs
	install -D -m 644 -t $(DESTDIR)/usr/share/doc/sosigw docs/*.md LICENSE
	install -D -m 644 -t $(DESTDIR)/usr/share/doc/sosigw/examples docs/examples/*
	install -D -m 644 -t $(DESTDIR)/usr/share/man/man1 build/sosigwctl.1
	install -D -m 644 -t $(DESTDIR)/usr/lib/systemd/system scripts/systemd/*.service
	install -D -m 644 -t $(DESTDIR)/etc/apache2/conf-available apache-conf/*.conf
	install -D -m 644 scripts/sosigw.logrotate $(DESTDIR)/etc/logrotate.d/sosigw

clean:	## remove build/
	rm -rf build

help:	## this list
	@sed -n 's/^\([a-z-]*\):[^#]*\t## /\1\t/p' Makefile | expand -t 16

/* What a server has of the cards: the nodes of its static file, and its list of what was withdrawn. */
#include "cards.h"
#include "withdrawn.h"

#include <openssl/crypto.h>
#include <stdio.h>

int
cards_cache_conf(const struct conf_file *f, struct cache_node *nodes, struct cache_conf *conf, struct err *e)
{
	if (f->ncache_nodes > CACHE_NODES_MAX)
		return err_set(e, ERR_CONFIG, "%zu cache nodes; one to %d are allowed", f->ncache_nodes, CACHE_NODES_MAX);
	for (size_t i = 0; i < f->ncache_nodes; i++) {
		const struct conf_node *n = &f->cache_nodes[i];
		nodes[i] = (struct cache_node){ n->host, n->port, n->zone, n->moving };
	}
	*conf = (struct cache_conf){ .nodes = nodes, .nnodes = f->ncache_nodes, .timeout_ms = f->cache_timeout_ms };
	return 0;
}

struct cache *
cards_open_cache(const struct conf_file *f, struct err *e)
{
	struct cache_node nodes[CACHE_NODES_MAX];
	struct cache_conf conf = { .nnodes = 0 };
	struct cache *c = NULL;

	if (cards_cache_conf(f, nodes, &conf, e) == 0 && cache_read_keys(f->cache_keys, conf.keys, &conf.nkeys, e) == 0)
		c = cache_new(&conf, e);
	OPENSSL_cleanse(conf.keys, sizeof conf.keys);
	return c;
}

int
cards_list_file(const struct conf_file *f, char *out, size_t size, struct err *e)
{
	return snprintf(out, size, "%s/withdrawn-cards", f->state) < (int)size ? 0 :
	    err_set(e, ERR_CONFIG, "the state folder's name is too long");
}

struct withdrawn *
cards_list_new(const struct conf_file *f, struct db *db, const struct db_conf *listen, struct err *e)
{
	char path[4096];
	const struct withdrawn_conf conf = { .db = db, .listen = listen, .file = path, .keeps = true };

	return cards_list_file(f, path, sizeof path, e) < 0 ? NULL : withdrawn_new(&conf, e);
}

int
cards_list_tend(struct withdrawn *list, struct err *e)
{
	return withdrawn_tend(list, e);
}

void
cards_list_free(struct withdrawn *list)
{
	withdrawn_free(list);
}

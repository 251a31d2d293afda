#include "cards.h"

#include <openssl/crypto.h>

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

// SPDX-License-Identifier: Apache-2.0
#include "pair/config.h"

#include "base/fs.h"

enum { MAX_FILE = 1 << 20 };

static int read_keys(struct arena *a, const struct yaml *y, struct pair_config *ret, struct err *e)
{
	if (yaml_is_null(y))
		return 0;
	if (y->type != YAML_MAP)
		return yaml_error(y, e, "this must be a map; the only key is 'traffic'");
	for (uint32_t i = 0; i < y->n; i++) {
		const struct yaml_pair *p = &y->pair[i];
		if (!str_eq(p->key, STR("traffic")))
			return yaml_error(&p->value, e, "unknown key '%.*s'; the only one is 'traffic'",
					  STR_ARG(p->key));
		if (!yaml_is_null(&p->value) && traffic_read(a, &p->value, &ret->traffic, e) < 0)
			return -1;
	}
	return 0;
}

int pair_config_read(int root_fd, const char *root_path, struct arena *a, struct pair_config *ret, struct err *e)
{
	auto_buf b = BUF_INIT(MAX_FILE);
	struct err gone = ERR_INIT;
	*ret = (struct pair_config){0};
	if (fs_read(root_fd, "pair.yml", &b, &gone) < 0)
		return gone.code == ERR_NOT_FOUND ? 0 : (*e = gone, err_ctx(e, "in '%s'", root_path));
	const struct yaml *y = yaml_parse(a, arena_str(a, buf_str(&b)), arena_printf(a, "%s/pair.yml", root_path), e);
	return y ? read_keys(a, y, ret, e) : -1;
}

// SPDX-License-Identifier: Apache-2.0
/* The JSON of images. The first byte says which document it is: an index or manifest, a configuration, manifest.json of docker save. */
#include <stdint.h>

#include "image/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_descriptor(const struct oci_descriptor *d)
{
	uint8_t sum[SHA256_SIZE];
	if (d->digest.n != 71 || !image_digest_parse(d->digest, sum) || str_find(d->digest, '/') >= 0)
		panic("a digest that is none");
}

static int document(struct str text, struct arena *a, struct err *e)
{
	struct oci_document d;
	struct image_config platform;
	const struct oci_descriptor *chosen;
	struct err why = ERR_INIT;
	if (oci_parse_document(text, "fuzz", a, &d, e) < 0)
		return -1;
	if (d.kind == OCI_UNKNOWN || d.n_manifests > IMAGE_MANIFESTS_MAX || d.n_layers > IMAGE_LAYERS_MAX)
		panic("more than is allowed");
	for (size_t i = 0; i < d.n_manifests; i++)
		check_descriptor(&d.manifests[i]);
	for (size_t i = 0; i < d.n_layers; i++)
		check_descriptor(&d.layers[i]);
	if (d.kind == OCI_MANIFEST) {
		check_descriptor(&d.config);
		return 0;
	}
	if (oci_platform(STR("linux/arm64/v8"), a, &platform, e) < 0)
		panic("%s", e->msg);
	if (oci_choose(&d, "fuzz", STR("latest"), &platform, &chosen, &why) == 0 &&
	    (chosen->attestation || (chosen->arch.n && !str_eq(chosen->arch, STR("arm64")))))
		panic("another platform was chosen");
	return 0;
}

static int config(struct str text, struct arena *a, struct err *e)
{
	struct oci_config c;
	if (oci_parse_config(text, "fuzz", a, &c, e) < 0)
		return -1;
	for (size_t i = 0; i < c.config.n_env; i++)
		if (str_find(c.config.env[i], '=') < 1 || strlen(c.config.env[i].p) != c.config.env[i].n)
			panic("a variable that is none");
	if (c.n_diff_ids > IMAGE_LAYERS_MAX)
		panic("more layers than are allowed");
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	struct oci_saved *saved;
	size_t n;
	if (size < 1)
		return 0;
	struct str text = str_of((const char *)data + 1, size - 1);
	int rc = data[0] % 3 == 0   ? document(text, &a, &e)
		 : data[0] % 3 == 1 ? config(text, &a, &e)
				    : oci_parse_saved(text, "fuzz", &a, &saved, &n, &e);
	if (rc < 0 && (e.code == ERR_NONE || !strstr(e.msg, "fuzz")))
		panic("no cause in '%s'", e.msg);
	return 0;
}

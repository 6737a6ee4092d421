// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * image: base images of builds: what `(from NAME)` names. Unpacked once, into layers (layer/layer.h).
 *
 *	struct image_import o = {.name = STR("debian:12"), .path = "debian.tar"};
 *	image_import(layers, &o, &arena, &img, e)
 *	image_find(layers, STR("debian:12"), &arena, &img, e)      img.layer is the one to begin on, img.config.env its environment
 *	image_remove(layers, STR("debian:12"), false, &removal, e)
 *	image_export(layers, &img.layer, &opts, fd, e)             a tree, as rootfs tar or OCI archive
 *
 * Sources: an OCI layout (folder, or tar of one), an archive of `docker save`, a root file system as tar (plain, gzip, xz, zstd, bzip2; told by
 * the first bytes) or as folder, and one made of Debian packages (mmdebstrap with the machine's own apt sources). Registries are not spoken to:
 * `skopeo copy docker://NAME oci:FOLDER` brings what is there.
 *
 *	DIR/image/<name>.json      the layer and what is known of the image (doc/formats/image.md); written by rename
 *
 * Names are as Docker's: [HOST/]PATH[:TAG][@sha256:DIGEST]. "docker.io/library/" and ":latest" mean nothing and fall away. With a digest the
 * image must be the one: found by the name, or by the digest alone. Digests of an image are those of its manifest, of the index
 * it came from, and of its configuration; of a tar that of the file.
 *
 * Each layer of an OCI image becomes one of ours, whose id follows from OCI's chain id, so that images share what they share; from
 * IMAGE_LAYERS_APART on, the lowest are unpacked into one. All blobs are verified while they are read.
 *
 * Everything in an archive is hostile: it is unpacked inside the root that is being made (sandbox_call), names are relative and without
 * "..", and the limits below hold (ERR_LIMIT). Set-user-id bits stay; device nodes below dev/ are left out, elsewhere
 * they are refused. An import that fails or is killed leaves nothing: a name is the last thing that is written.
 *
 * Decisions: doc/decisions/0075-images.md. One thread a struct layers.
 */
#include "base/arena.h"
#include "base/err.h"
#include "base/progress.h"
#include "layer/layer.h"

enum {
	IMAGE_NAME_MAX = 200,	   /* bytes of a name without its digest */
	IMAGE_DIGESTS_MAX = 8,	   /* by which an image is found */
	IMAGE_LAYERS_MAX = 500,	   /* of an OCI image */
	IMAGE_LAYERS_APART = 32,   /* of ours */
	IMAGE_JSON_MAX = 4 << 20,  /* an index, manifest, configuration */
	IMAGE_MANIFESTS_MAX = 1000 /* of an index */
};

struct image_config {
	const struct str *env; /* "NAME=value" */
	size_t n_env;
	struct str user, workdir;
	const struct str *entrypoint, *cmd; /* for information: builds run what their spec says */
	size_t n_entrypoint, n_cmd;
	struct str os, arch, variant; /* "linux", "amd64", "" */
};
struct image {
	struct str name; /* "" of one that has none */
	struct layer_id layer;
	struct image_config config;
	const struct str *digests; /* "sha256:…"; the first is the one to pin it by */
	size_t n_digests;
	struct str source; /* what it was imported from, for people */
	int64_t imported_ms;
	uint64_t bytes; /* of its layers */
	uint32_t layers;
};

/* ERR_NOT_FOUND says how to import it, and which name is nearest; ERR_VERIFY where NAME is there with another digest. The layer is there and
 * marked as used. */
int image_find(struct layers *l, struct str name, struct arena *a, struct image *ret, struct err *e);
/* By name. Ones whose layer is gone have layers 0. */
int images_list(struct layers *l, struct arena *a, struct image **ret, size_t *n, struct err *e);

/* The layers that have a name, for layers_gc: nothing but the names is read. */
int image_layers(struct layers *l, struct arena *a, const struct layer_id **ret, size_t *n, struct err *e);

struct image_import {
	struct str name;	    /* NONE: as the archive says, else after its file */
	const char *path;	    /* layout, archive, tar, folder; "-": standard input; NULL with debian_suite */
	const char *debian_suite;   /* "bookworm" */
	const char *const *include; /* packages beside those of the variant; NULL-terminated, or NULL */
	const char *variant;	    /* mmdebstrap's; NULL: "minbase" */
	struct str tag;		    /* which one of a layout that holds several; NONE: the only one */
	struct str platform;	    /* "linux/arm64[/v8]"; NONE: this machine's */
	const char *const *env;	    /* "NAME=value" that the image gets beside its own; NULL-terminated, or NULL */
	bool dry_run;		    /* looks at the source and makes nothing */
	bool quiet;		    /* mmdebstrap's own words are shown only where it fails */
	struct progress *progress;  /* phase "unpack", an item a layer */
};
int image_import(struct layers *l, const struct image_import *o, struct arena *a, struct image *ret, struct err *e);
/* Whether an image can be called so: no digest, and what Docker takes. */
int image_check_name(struct str name, struct arena *a, struct err *e);
/* Gives a layer that is there a name, e.g. the result of a build; digests, time and sizes are filled in. An image of that name is replaced. */
int image_name(struct layers *l, struct image *img, struct arena *a, struct err *e);

struct image_removal {
	uint32_t layers;      /* removed, or with dry_run would be */
	uint32_t layers_stay; /* other images, or steps built on them, need them */
	uint64_t bytes;
};
int image_remove(struct layers *l, struct str name, bool dry_run, struct image_removal *ret, struct err *e);

enum image_format { IMAGE_TAR, IMAGE_OCI };
struct image_export {
	enum image_format format;
	const struct image *image; /* configuration and name ("": none) that go into an OCI archive; NULL: none */
	int64_t epoch_s;	   /* no time is later (SOURCE_DATE_EPOCH); -1: as they are */
	struct progress *progress;
};
/* The same tree gives the same bytes. fd: any file, pipe or terminal. */
int image_export(struct layers *l, const struct layer_id *id, const struct image_export *o, int fd, struct err *e);

// SPDX-License-Identifier: Apache-2.0
/* What can be made of a spec without building it, for who is outside this module. */
#include "build/build.h"
#include "build/spec.h"

int build_write(const struct build_write *w, struct arena *a, struct buf *out, struct err *e)
{
	struct build_spec s;
	enum spec_docker_flags flags = w->windows ? SPEC_DOCKER_WINDOWS : 0;
	if (spec_parse(w->text, w->file, a, &s, e) < 0)
		return -1;
	switch (w->form) {
	case BUILD_FORM_SPEC:
		spec_print(&s, out);
		break;
	case BUILD_FORM_BUILDKIT:
		flags |= SPEC_DOCKER_BUILDKIT;
		return spec_dockerfile(&s, w->file, flags, out, e);
	case BUILD_FORM_DOCKERFILE:
		return spec_dockerfile(&s, w->file, flags, out, e);
	case BUILD_FORM_RECIPE: {
		struct spec_source source = {.url = w->url,
					     .ref = w->ref,
					     .commit = w->commit,
					     .merge_branch = w->branch,
					     .merge_base = w->base,
					     .dir = w->dir};
		if (spec_recipe(&s, w->file, &source, out, e) < 0)
			return -1;
		break;
	}
	}
	buf_put_char(out, '\n');
	return 0;
}

/* Names of Hugging Face's hub, "owner/name", and the copies that its tools keep on this machine. Nothing is fetched.
 */
#ifndef LEVEE_MODEL_HUB_H
#define LEVEE_MODEL_HUB_H

#include "base/file.h"

/* Could this be a name on the hub, and not a path? */
bool hub_is_name(const char *text);

/* The directory in which the copy of a model lies: the revision that "main" stands for, below HF_HUB_CACHE,
 * HF_HOME/hub, XDG_CACHE_HOME/huggingface/hub or ~/.cache/huggingface/hub. False when there is no whole one. */
bool hub_find_model(char directory[FILE_PATH_BYTES], const char *name);

/* LEVEE_MISSING_INPUT: says that `option` takes a local path, that this name is not on this machine, and how to fetch
 * it; `kind` is the hub's word, "model" or "dataset". */
levee_status hub_refuse(const char *option, const char *name, const char *kind, levee_error *error);

#endif

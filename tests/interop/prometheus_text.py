"""Reads a scrape as Prometheus does, and compares it with the list in the documentation. Usage: prometheus_text.py METRICS DOCUMENT"""
import math
import re
import sys

from prometheus_client.parser import text_string_to_metric_families

text = open(sys.argv[1], encoding="utf-8").read()
documented = set(re.findall(r"`(levee_[a-z_]+)`", open(sys.argv[2], encoding="utf-8").read()))
failed = []


def check(name, good, why=""):
    print(f"[{'       OK ' if good else '  FAILED  '}] {name} {why if not good else ''}")
    if not good:
        failed.append(name)


families = list(text_string_to_metric_families(text))
samples = [s for f in families for s in f.samples]
names = {s.name for s in samples}
keys = [(s.name, tuple(sorted(s.labels.items()))) for s in samples]
check("is_parsed", len(samples) > 80, f"{len(samples)} samples")
check("no_sample_comes_twice", len(keys) == len(set(keys)))
check("every_family_has_a_type_and_help", all(f.type in ("gauge", "counter") and f.documentation for f in families))
check("counters_are_totals", all((f.type == "counter") == s.name.endswith("_total") for f in families for s in f.samples))
check("all_are_documented", names <= documented, sorted(names - documented))
# What this run cannot have: a GPU, a leak.
absent = {n for n in documented - names if "device" in n or "leak" in n}
check("all_that_is_documented_is_there", documented - names == absent, sorted(documented - names - absent))
value = {s.name: s.value for s in samples if not s.labels}
check("values_are_sound", value["levee_steps_total"] >= 20 and 0 < value["levee_loss"] < 20 and math.isfinite(value["levee_validation_loss"]))
check("one_state", sum(s.value for s in samples if s.name == "levee_run_state") == 1)
check("categories_are_labels", len([s for s in samples if s.name == "levee_memory_bytes"]) == 10)
sys.exit(bool(failed))

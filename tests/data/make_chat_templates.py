#!/usr/bin/env python3
"""Fills in what Hugging Face's transformers renders for the templates in chat_templates.jsonl.

The first row holds the variables, each other row a template and perhaps messages; "rendered" and "generated" (byte
ranges of generation blocks), or "error", are written anew. To add a case, add a row {"template": ...} and run:

    python3 make_chat_templates.py chat_templates.jsonl

Needs transformers and jinja2. The clock is fixed, as in tests/test_text_template.c.
"""
import datetime
import json
import sys

from transformers.utils import chat_template_utils as reference


class FixedClock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2026, 11, 24, 12, 0, 0)


reference.datetime = FixedClock


def render(row, variables):
    try:
        template = reference._cached_compile_jinja_template(row["template"])
        messages = reference._alias_reasoning_fields(
            reference._normalize_chat_messages(row.get("messages", []))
        )
        text, ranges = reference._render_with_assistant_indices(
            template, messages, None, None, False, **json.loads(json.dumps(variables))
        )
    except Exception as problem:
        return {"error": f"{type(problem).__name__}: {problem}"}
    result = {"rendered": text}
    if ranges:
        result["generated"] = [[len(text[:a].encode()), len(text[:b].encode())] for a, b in ranges]
    return result


def main(path):
    with open(path, encoding="utf-8") as file:
        first, *rows = [json.loads(line) for line in file]
    with open(path, "w", encoding="utf-8") as file:
        file.write(json.dumps(first, ensure_ascii=False) + "\n")
        for row in rows:
            given = {key: row[key] for key in ("template", "messages") if key in row}
            file.write(json.dumps(given | render(row, first["variables"]), ensure_ascii=False) + "\n")


main(sys.argv[1])

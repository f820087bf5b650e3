#!/bin/sh
# Writes 600 rows of simple sentences about a harbour or a garden, made from a small grammar; the same ones every time.
awk -v place="$1" 'BEGIN {
    srand(place == "garden" ? 7 : 3)
    if (place == "garden") {
        n = split("The gardener|The old apple tree|A small bee|The quiet hedgehog|The rain", who, "|")
        v = split("rests beside|looks after|wakes up near|slowly walks around|loves", does, "|")
        w = split("the tall sunflowers|the stone wall|the green beans|the little pond|the compost heap", what, "|")
        t = split("in the morning|when the wind turns|before supper|all summer long", when, "|")
    } else {
        n = split("The boat|The harbour master|A grey gull|The lighthouse|The tide", who, "|")
        v = split("waits for|sails past|watches over|returns to|circles", does, "|")
        w = split("the long pier|the fishing nets|the open sea|the red buoy|the salt market", what, "|")
        t = split("at dawn|under the stars|after the storm|every evening", when, "|")
    }
    for (i = 0; i < 600; i++) {
        text = ""
        for (k = 0; k < 2; k++)
            text = text (k ? " " : "") who[1 + int(rand() * n)] " " does[1 + int(rand() * v)] " " \
                   what[1 + int(rand() * w)] " " when[1 + int(rand() * t)] "."
        printf "{\"text\": \"%s\"}\n", text
    }
}'

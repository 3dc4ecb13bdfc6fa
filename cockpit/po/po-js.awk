# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# A translation as the script that Cockpit serves in the place of po.js: awk -v language=de -f po-js.awk de.po
# The quoted strings of both have the same escapes. What is not translated is left out and so stays as it is. The
# header, the translation of "", says which of the plural forms is for a number n, in C's words, which are JavaScript's,
# too.

function flush(    i, plural) {
    if (part == "")
        return
    if (id == "") {
        plural = match(texts[0], /plural=[^;]*;/) ? substr(texts[0], RSTART + 7, RLENGTH - 8) : "n != 1"
        printf "cockpit.locale({\"\":{\"plural-forms\":n=>%s,\"language\":\"%s\",\"language-direction\":\"ltr\"}", \
            plural, language
    } else if (texts[0] != "") {
        printf ",\n\"%s\":[null", id
        for (i = 0; i <= form; i++)
            printf ",\"%s\"", texts[i]
        printf "]"
    }
    split("", texts)
}

function quoted(line) {
    sub(/^[^"]*"/, "", line)
    sub(/"[^"]*$/, "", line)
    return line
}

/^msgid / { flush(); part = "id"; id = quoted($0); form = 0; next }
/^msgid_plural / { part = "plural"; next }
/^msgstr / { part = "text"; texts[0] = quoted($0); next }
/^msgstr\[/ { part = "text"; form = substr($0, 8) + 0; texts[form] = quoted($0); next }
/^"/ && part == "id" { id = id quoted($0) }
/^"/ && part == "text" { texts[form] = texts[form] quoted($0) }
END {
    flush()
    print "});"
}

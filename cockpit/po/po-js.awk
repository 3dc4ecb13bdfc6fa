# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# A translation as the script that Cockpit serves in the place of po.js: awk -v language=de -f po-js.awk de.po
# The quoted strings of both have the same escapes. What is not translated is left out and so stays as it is.

function flush() {
    if (id != "" && text != "")
        printf ",\n\"%s\":[null,\"%s\"]", id, text
    id = text = ""
}

function quoted(line) {
    sub(/^[^"]*"/, "", line)
    sub(/"[^"]*$/, "", line)
    return line
}

BEGIN {
    printf "cockpit.locale({\"\":{\"plural-forms\":n=>n!=1,\"language\":\"%s\",\"language-direction\":\"ltr\"}", language
}
/^msgid / { flush(); part = "id"; id = quoted($0); next }
/^msgstr / { part = "text"; text = quoted($0); next }
/^"/ && part == "id" { id = id quoted($0) }
/^"/ && part == "text" { text = text quoted($0) }
END {
    flush()
    print "});"
}

# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""Who includes whom: no cycle, nobody above their level, each library in its own few files; TAP."""

import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from sandboxed import Tap  # noqa: E402

TOP = os.environ.get("HUBKEY_SRCDIR") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FOLDERS = ("common", "dbus", "daemon", "client", "tools", "examples", "tests")
PRODUCT = ("common", "dbus", "daemon", "client", "tools")

# What each folder may include of the others. Tests may include all of it, except that the hub judges the product and so
# shares nothing with it.
MAY = {
    "common": set(),
    "dbus": {"common"},
    "daemon": {"common", "dbus"},
    "client": {"common", "dbus"},
    "tools": {"common", "dbus", "client/hubkey.h"},
    "examples": {"client/hubkey.h"},
}

# The headers of each library, and the only files that may include them.
LIBRARIES = {
    r"tss2/": r"daemon/tpm[^/]*",
    r"curl/": r"client/http[^/]*\.c|tools/doctor-network\.c",
    r"sqlite3\.h": r"client/(queue[^/]*|commit\.c)",
    r"dbus/dbus\.h": r"dbus/[^/]+|daemon/(api[^/]*|admin\.h|polkit\.h|serve\.c)|client/bus\.c|"
    r"tools/(bus|slots|value|doctor[^/]*)\.[ch]",
    r"jansson\.h": r"client/(batch|message|reply|stored)\.c|tools/[^/]+",
    r"zlib\.h": r"client/queue-row\.c",
    r"openssl/": r"daemon/[^/]+|client/http-trust\.c",
}

# Modules by level, lowest first; each sees its own level and those below, as long as there is no cycle. A module that
# is not named here is bound by the folders' rule and by having no cycle alone.
LEVELS = (
    "common/*",
    "dbus/loop dbus/names daemon/tpm daemon/tpm-object daemon/tpm-sys daemon/tpm-space daemon/config daemon/access "
    "daemon/limits daemon/sas daemon/worker daemon/store daemon/audit daemon/audit-fold daemon/audit-limit "
    "daemon/audit-record daemon/clock-step daemon/hosts daemon/rate daemon/stats daemon/key-pipe client/http "
    "client/retry client/batch client/queue-schema client/queue-row client/damaged client/pages client/cells",
    "dbus/object dbus/call daemon/generations daemon/reload daemon/tpm-info daemon/tpm-key daemon/tpm-hmac "
    "daemon/tpm-nv daemon/tpm-srk client/queue client/relic",
    "dbus/caller dbus/server daemon/polkit daemon/slot client/bus",
    "daemon/admin daemon/sharing daemon/health daemon/intent client/token client/commit",
    "daemon/slot-key daemon/slot-view",
    "daemon/slot-settle client/pump",
    "daemon/slot-tpm daemon/slot-file",
    "daemon/slot-storage",
    "daemon/api daemon/api-settings daemon/api-change daemon/api-manager daemon/api-rules daemon/api-slot "
    "daemon/api-token daemon/api-tpm daemon/api-objects client/client",
    "daemon/metrics",
    "daemon/serve",
    "daemon/main",
)

# Modules of more than one source: the parts share an internal header and count as one.
PARTS = {
    "daemon/config": r"daemon/config-(internal|keys|read)",
    "client/pages": r"client/pages-free",
    "dbus/object": r"dbus/object-(internal|introspect|properties)",
    "daemon/slot": r"daemon/slot-(attach|change|job|table)",
    "daemon/store": r"daemon/store-record",
    "daemon/tpm": r"daemon/tpm-(error|esys|protect)",
}


def module_of(path):
    stem = os.path.splitext(path)[0]
    for module, parts in PARTS.items():
        if re.fullmatch(parts, stem):
            return module
    if stem.endswith("-internal"):
        return stem[: -len("-internal")]
    return stem


def level_of(module):
    for level, names in enumerate(LEVELS):
        if module in names.split() or (names.endswith("/*") and module.startswith(names[:-1])):
            return level
    return None


def read_tree():
    """{file: ([project includes], [other includes])}, paths from the top."""
    tree = {}
    for folder in FOLDERS:
        for place, _, names in os.walk(os.path.join(TOP, folder)):
            for name in names:
                if not name.endswith((".c", ".h")):
                    continue
                path = os.path.relpath(os.path.join(place, name), TOP)
                with open(os.path.join(TOP, path), encoding="utf-8") as source:
                    text = source.read()
                tree[path] = (re.findall(r'^\s*#\s*include\s+"([^"]+)"', text, re.M),
                              re.findall(r"^\s*#\s*include\s+<([^>]+)>", text, re.M))
    return tree


def find_cycle(graph):
    """One cycle as a list of nodes, or None."""
    done, path = set(), []

    def visit(node):
        if node in path:
            return path[path.index(node):] + [node]
        if node in done:
            return None
        path.append(node)
        for other in sorted(graph.get(node, ())):
            cycle = visit(other)
            if cycle:
                return cycle
        done.add(path.pop())
        return None

    for node in sorted(graph):
        cycle = visit(node)
        if cycle:
            return cycle
    return None


def header_cycles(tree):
    cycle = find_cycle({path: own for path, (own, _) in tree.items() if path.endswith(".h")})
    return ["headers include each other: " + " -> ".join(cycle)] if cycle else []


def module_graph(tree):
    graph = {}
    for path, (own, _) in tree.items():
        if path.startswith(tuple(folder + "/" for folder in PRODUCT)):
            edges = graph.setdefault(module_of(path), set())
            edges.update(module_of(other) for other in own if module_of(other) != module_of(path))
    return graph


def module_cycles(tree):
    cycle = find_cycle(module_graph(tree))
    return ["modules include each other: " + " -> ".join(cycle)] if cycle else []


def folder_faults(tree):
    faults = []
    for path, (own, _) in tree.items():
        folder = path.split("/")[0]
        for other in own:
            target = other.split("/")[0]
            if path.startswith("tests/hub/"):
                good = other.startswith("tests/hub/")
            elif folder == "tests" or target == folder:
                good = True
            else:
                good = target in MAY[folder] or other in MAY[folder]
            if not good:
                faults.append(f"{path} includes {other}")
    return faults


def level_faults(tree):
    faults = []
    for path, (own, _) in tree.items():
        level = level_of(module_of(path))
        for other in own:
            above = level_of(module_of(other))
            if level is not None and above is not None and above > level:
                faults.append(f"{path} (level {level}) includes {other} (level {above})")
    return faults


def library_faults(tree):
    faults = []
    for path, (_, others) in tree.items():
        if not path.startswith(tuple(folder + "/" for folder in PRODUCT)):
            continue
        for other in others:
            for library, allowed in LIBRARIES.items():
                if re.match(library, other) and not re.fullmatch(allowed, path):
                    faults.append(f"{path} includes <{other}>")
    return faults


def path_faults(tree):
    """Project headers stand in quotes, by their path from the top; the build's config.h comes first and in brackets."""
    faults = []
    for path, (own, others) in tree.items():
        faults += [f'{path}: "{other}" is no file of the tree' for other in own if other not in tree]
        faults += [f"{path}: <{other}> belongs in quotes" for other in others if other in tree]
        if "config.h" in others and path.endswith(".h"):
            faults.append(f"{path}: config.h is for sources only")
        if path.endswith(".c") and path.split("/")[0] in PRODUCT and others[:1] != ["config.h"]:
            faults.append(f"{path}: <config.h> is not its first include")
    return faults


def public_header_faults(tree):
    own, others = tree["client/hubkey.h"]
    plain = {"stddef.h", "stdint.h", "stdbool.h"}
    return [f"client/hubkey.h includes {name}" for name in own + [other for other in others if other not in plain]]


def self_test():
    """That the checks can fail at all."""
    clean = {"common/a.c": (["common/a.h"], ["config.h"]), "common/a.h": ([], [])}

    def faults(check, path, own, others):
        return bool(check({**clean, path: (own, others), "daemon/tpm.h": ([], []), "daemon/main.h": ([], []),
                           "common/b.h": (["common/a.h"], []), "client/hubkey.h": ([], [])}))

    return [name for name, found in {
        "header cycle": faults(header_cycles, "common/a.h", ["common/b.h"], []),
        "module cycle": faults(module_cycles, "common/a.c", ["common/b.h"], ["config.h"]),
        "folder": faults(folder_faults, "common/c.c", ["daemon/tpm.h"], ["config.h"]),
        "hub": faults(folder_faults, "tests/hub/c.c", ["common/a.h"], ["config.h"]),
        "level": faults(level_faults, "daemon/worker.c", ["daemon/main.h"], ["config.h"]),
        "library": faults(library_faults, "daemon/slot.c", [], ["config.h", "tss2/tss2_esys.h"]),
        "path": faults(path_faults, "daemon/slot.c", ["slot.h"], ["config.h"]),
        "first": faults(path_faults, "daemon/slot.c", [], ["string.h", "config.h"]),
        "public": bool(public_header_faults({"client/hubkey.h": ([], ["glib.h"])})),
    }.items() if not found]


def main():
    tree = read_tree()
    checks = (
        ("these checks find what they look for", self_test()),
        ("headers have no cycle", header_cycles(tree)),
        ("modules have no cycle", module_cycles(tree)),
        ("folders include only what is below them", folder_faults(tree)),
        ("modules include nothing above their level", level_faults(tree)),
        ("each library stays in its files", library_faults(tree)),
        ("includes are by path from the top, config.h first", path_faults(tree)),
        ("the public header needs C headers only", public_header_faults(tree)),
    )
    tap = Tap()
    for text, faults in checks:
        tap.ok(not faults, text, "\n".join(map(str, faults)))
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

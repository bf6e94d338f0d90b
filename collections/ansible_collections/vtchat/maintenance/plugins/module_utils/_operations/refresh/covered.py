# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What of a view's definition is known to follow from counted changes alone. What is not listed here is an obstacle.

The list is of what a stored query may contain: kinds of nodes, functions by their number in the system catalog, kinds of
relations and of types. A node, a function or a version of PostgreSQL that is not known is not known to be harmless.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

FIRST_USER_OID = 16384  # smaller ones belong to PostgreSQL itself

# 14 reports through a collector process, with no bound on the delay; later than 18 the stored queries may look different.
FIRST_VERSION, LAST_VERSION = 150000, 189999

# Nodes of a stored query that add nothing to what their functions, types and relations decide.
NODES = frozenset(
    """
AGGREF ALIAS ARRAYCOERCEEXPR ARRAYEXPR BOOLEANTEST BOOLEXPR CASEEXPR CASETESTEXPR CASEWHEN COALESCEEXPR COERCEVIAIO
COLLATEEXPR COMMONTABLEEXPR CONST CTECYCLECLAUSE CTESEARCHCLAUSE DISTINCTEXPR FIELDSELECT FROMEXPR FUNCEXPR GROUPINGFUNC
GROUPINGSET JOINEXPR MINMAXEXPR NAMEDARGEXPR NULLIFEXPR NULLTEST OPEXPR PARAM QUERY RANGETBLENTRY RANGETBLFUNCTION
RANGETBLREF RELABELTYPE ROWCOMPAREEXPR ROWEXPR RTEPERMISSIONINFO SCALARARRAYOPEXPR SETOPERATIONSTMT SORTGROUPCLAUSE SUBLINK
SUBSCRIPTINGREF TARGETENTRY VAR WINDOWCLAUSE WINDOWFUNC
""".split()
)

# Each of these nodes has each of these fields exactly once. Where the numbers differ the query is written in a way that we
# do not know, and what we read from it is not all that there is.
FIELDS = (
    (("FUNCEXPR",), ("funcid",)),
    (("OPEXPR", "DISTINCTEXPR", "NULLIFEXPR", "SCALARARRAYOPEXPR"), ("opno",)),
    (("ROWCOMPAREEXPR",), ("opnos",)),
    (("AGGREF",), ("aggfnoid",)),
    (("WINDOWFUNC",), ("winfnoid",)),
    (("SORTGROUPCLAUSE",), ("eqop", "sortop")),
    (("WINDOWCLAUSE",), ("startInRangeFunc", "endInRangeFunc")),
    (("CTECYCLECLAUSE",), ("cycle_mark_neop",)),
    (("RANGETBLENTRY",), ("rtekind",)),
    (("VAR",), ("varattno",)),
)
FUNCTION_FIELDS = ("funcid", "aggfnoid", "winfnoid", "startInRangeFunc", "endInRangeFunc")
OPERATOR_FIELDS = ("opno", "opnos", "eqop", "sortop", "cycle_mark_neop")
TABLEOID = -6  # the only system column that nothing changes without being counted: a mere row lock changes xmax

# Functions, aggregates and window functions of PostgreSQL 15 to 18: all those of pg_proc that are immutable in each of
# these versions, with all their parts, except (tests/integration/test_refresh_covered.py has the rules):
#   - input, output and other functions of the type cstring or internal: settings (DateStyle, extra_float_digits)
#   - text search with a configuration or dictionary, which can be altered
#   - named time zones (timezone, date_trunc, date_add, generate_series) and age() of timestamptz: the server's time zone
#     data and the setting TimeZone
#   - JSON paths: lc_time; quote_ident: quote_all_identifiers; ..._send of text: client_encoding
#   - XML, access rights, transaction ids, WAL files, partition look-ups, versions of libraries
COVERED_OIDS = """
56-57 60-70 72-74 77-79 84 115-116 125-138 141 144-173 176-193 202-209 211-213 216-225 227-253 266 276-314 316-320
328 339-346 350-351 354-373 376-383 390-394 396 399-401 404 406-409 421-422 425 432 438 440-455 457-459 462-472
474-483 515-516 598-599 605 619 626 635 652-653 655-659 668-669 677-681 683 696-699 702 704 711 714 716-717 720-725
727-730 740-744 747-749 752-754 766 768-771 776 778-782 785 830-842 846-860 862-868 870-885 888-899 919-930 935-938
940-949 959-961 972-973 975-999 1026 1048-1053 1063-1064 1066-1069 1078 1080 1086-1092 1102-1107 1138-1142 1145-1149
1152-1158 1162-1170 1172 1175 1188 1191-1198 1200 1218-1219 1230 1236-1241 1246 1251-1254 1256-1258 1265 1268
1271-1281 1283 1286-1289 1292-1293 1295-1298 1304 1308-1311 1314-1319 1326 1339-1347 1352-1359 1362 1367-1370
1372-1381 1384-1385 1389-1390 1394-1398 1400-1401 1404-1416 1419 1421-1426 1428-1449 1452-1489 1492-1499 1530-1532
1534 1540-1545 1556 1569-1572 1581-1582 1592-1596 1600-1610 1618 1620-1624 1631-1639 1656-1661 1666-1685 1687-1688
1690-1693 1696-1699 1703-1712 1715 1718-1750 1764 1766-1767 1769 1771 1779 1781-1783 1810-1812 1830-1832 1840-1842
1845-1848 1850-1861 1892-1915 1946-1954 1961-1969 1973 1980 1986-1987 2005-2015 2020-2021 2024-2025 2029 2031-2033
2035-2036 2038-2039 2041-2046 2048 2050-2058 2070-2076 2085-2092 2100-2120 2122-2136 2138-2161 2163-2164 2166-2167
2169-2170 2174-2178 2180 2188-2195 2233-2234 2236-2245 2284-2285 2288 2308-2311 2320-2321 2331 2335 2338-2344
2364-2370 2405 2407 2409 2411 2413 2419 2421 2425 2427 2429 2435 2437 2439 2441 2443 2457 2459 2461-2467 2469 2471
2473 2475 2477 2479 2481 2483 2485 2487 2489 2491 2493 2495 2497 2499 2512-2513 2515-2519 2546-2548 2550 2557-2558
2562-2569 2580 2587-2588 2627-2633 2641-2646 2711-2729 2731-2738 2747-2749 2763-2768 2790-2798 2803-2829 2954-2960
2962-2963 2971 2981-2987 3030-3033 3060-3062 3100-3114 3144-3146 3165-3168 3179 3181-3187 3202-3203 3207-3208 3210
3214-3219 3231-3237 3239 3251-3252 3259-3264 3275 3277-3279 3281 3290 3292 3301-3306 3308-3309 3319-3324 3326-3327
3334 3342-3345 3396-3397 3399 3409-3414 3416-3422 3447 3449-3453 3461 3464-3465 3478 3508-3515 3524-3527 3538
3545-3547 3551 3556 3562-3565 3570-3572 3579 3616-3625 3634-3635 3662-3673 3684 3691-3692 3696 3703-3711 3822
3840-3841 3844-3874 3902 3914-3915 3922-3925 3928-3934 3937-3938 3940-3942 3945-3951 3953 3955-3959 3968-3969 3972
3974 3976 3978 3980 3982 3984 3986 3988 3990 3992 4038-4050 4053 4057 4063 4067 4071 4091 4112-4134 4136-4141
4187-4190 4228 4235-4241 4244-4298 4301 4350-4351 4388-4389 4401 4450 4541-4542 5003-5004 5022-5024 5034-5037
5042-5049 5054 5071 5083-5085 5096-5100 6103 6105 6160-6167 6172 6177-6178 6192-6193 6195-6196 6198-6202 6204
6219-6220 6227 6251-6269 6291-6292 6330-6333 6342-6343 6364-6365 6367-6376 6381-6384 6388-6390 6393-6396 6412-6426
"""

# Those of them that compare values by the operators that the type of the elements has, and which that are is decided when
# they run: comparing arrays, records and ranges.
BY_TYPE_OIDS = """
382 390-393 396 515-516 626 744 782 1293 2050-2051 2747-2749 2981-2987 3167-3168 3218 3277-3279 3417 3526-3527
3848-3874 3902 4057 4228 4235-4241 4244-4279 4298 4301 4388-4389 4401 4450 4541-4542 6192-6193 6227 6373-6376
6388-6390
"""

# Nodes that do the same, or call what a type brings for them.
BY_TYPE_NODES = frozenset({"CTECYCLECLAUSE", "CTESEARCHCLAUSE", "MINMAXEXPR", "SUBSCRIPTINGREF"})

# bool, "char", name, int8, int2, int4, text, oid, json, bpchar, varchar, numeric, uuid, jsonb: no setting changes what
# their values look like as text, or what a text is as their value. Enums are so too; their labels are in the fingerprint.
STEADY_TYPES = frozenset({16, 18, 19, 20, 21, 23, 25, 26, 114, 1042, 1043, 1700, 2950, 3802})

RELATION_KINDS = {
    "f": "reads the foreign table {}, whose changes are not counted here",
    "S": "reads the sequence {}, whose changes are not counted",
}
NODE_REASONS = {
    "NEXTVALUEEXPR": "reads a sequence",
    "SQLVALUEFUNCTION": "uses CURRENT_DATE, CURRENT_USER or the like",
    "TABLESAMPLECLAUSE": "uses TABLESAMPLE",
    "COERCETODOMAIN": "casts to a domain, whose rules can be changed",
}


# How an obstacle is taken away.
LATER = "leave that to the query that reads the view, and refreshes that change nothing can be left out"
COPY = "copy it into a table, and refreshes that change nothing can be left out"


def _numbers(text: str) -> Iterator[int]:
    """From "3 7-9": 3, 7, 8, 9."""
    for part in text.split():
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


COVERED = frozenset(_numbers(COVERED_OIDS))
BY_TYPE = frozenset(_numbers(BY_TYPE_OIDS))


def version_obstacle(version_num: int) -> str:
    """Why nothing can be proved with this version of the server."""
    if version_num < FIRST_VERSION:
        return "PostgreSQL 14 may report changes too late to rely on: newer versions bound the delay"
    if version_num > LAST_VERSION:
        return (
            f"PostgreSQL {version_num // 10000} is newer than what is known to be covered: a newer release may know it"
        )
    return ""


def unknown_form(labels: Mapping[str, int], fields: Mapping[str, int]) -> str:
    """The first node that is written in another form than we know, "" if there is none. Both are numbers of occurrences."""
    for nodes, names in FIELDS:
        total = sum(labels.get(node, 0) for node in nodes)
        if any(fields.get(name, 0) != total for name in names):
            return nodes[0]
    return ""


def covered(function: int, facts: Mapping[str, Any] | None) -> bool:
    """Whether the result of a function follows from its arguments alone; facts: what the server says about it now."""
    return function in COVERED and facts is not None and facts["plain"]

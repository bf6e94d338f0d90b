#!/bin/sh
# Says on the page of a job where its report is. REPORT_URL: the address of the artifact, empty where there is none.
set -eu

if [ -n "${REPORT_URL:-}" ]; then
    printf '\n[Report](%s): health, runs, growth, and what was left undone. Unpack it, and open index.html.\n' "$REPORT_URL"
else
    printf '\nThere is no report of this run: the step "Make the report", or the one after it, says why.\n'
fi >>"${GITHUB_STEP_SUMMARY:-/dev/stdout}"

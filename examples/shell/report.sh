#!/bin/sh
# What is a text made of? Its lines, its words, and the words that come most often.
#
#   report.sh FILE TOP      TOP: how many words to list
#   MIN_LENGTH              shorter words are not listed (default 1)
#
# Exit codes: 64 wrong arguments, 65 no words in the file, 66 no such file.
set -eu

fail() {
    echo "report: $2" >&2
    exit "$1"
}

[ $# -eq 2 ] || fail 64 "give it a file and a number, not $# arguments"
file=$1 top=$2
case $top in
'' | *[!0-9]* | 0) fail 64 "TOP is '$top'; a number from 1 would be right" ;;
esac
[ -f "$file" ] || fail 66 "there is no file '$file' in $(pwd)"

words() {
    tr -cs '[:alpha:]-' '[\n*]' <"$file" | tr '[:upper:]' '[:lower:]' | sed '/^-*$/d'
}

total=$(words | awk 'END { print NR }')
[ "$total" -gt 0 ] || fail 65 "'$file' has no words"

echo "$file: $(awk 'END { print NR }' "$file") lines, $total words, $(words | sort -u | awk 'END { print NR }') different ones"
echo "the $top most frequent of at least ${MIN_LENGTH:-1} letters:"
words | awk -v min="${MIN_LENGTH:-1}" 'length($0) >= min' | sort | uniq -c | sort -k1,1nr -k2 | sed "${top}q" |
    awk '{ printf "%4d %s\n", $1, $2 }'

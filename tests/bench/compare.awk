# SPDX-License-Identifier: ISC
# Counts that were kept (first file) against new ones (second): 3 % more, or less, fails.
/^#/ { next }
$1 == "compiler" || $1 == "libraries" || $1 == "processor" {
	if (FNR == NR)
		was[$1] = $0
	else if (was[$1] != $0) {
		print "# another " $1 ": " $0 ", not" substr(was[$1], length($1) + 1)
		differs[$1] = 1
	}
	next
}
FNR == NR { own[$1] = $2; all[$1] = $3; next }
function judge(which, kept, now, compared,    verdict) {
	verdict = "ok"
	if (!compared)
		verdict = "not compared"
	else if (kept == "")
		verdict = "NEW"
	else if (now > kept * 1.03)
		verdict = "MORE"
	else if (now < kept * 0.97)
		verdict = "LESS"
	printf "%-30s %-3s %9d %9d %+7.1f %%  %s\n", $1, which, kept, now,
		(kept > 0 ? now / kept - 1 : 0) * 100, verdict
	bad += verdict ~ /^[A-Z]/
}
!said { said = 1; printf "%-34s %9s %9s\n", "instructions a packet", "kept", "now" }
{
	judge("own", own[$1], $2, !differs["compiler"])
	if ($3 != "-")
		judge("all", all[$1], $3, !differs["compiler"] && !differs["libraries"] && !differs["processor"])
}
END {
	if (bad)
		print bad " differ by more than 3 %: mend it, or say why and keep the new ones (make bench-counts)"
	exit bad > 0
}

# policy/: names, grants, rules, decisions.
foreach(name names grant allow rules decide lint diff cases)
	writ_test(test_policy_${name} SOURCES unit/test_policy_${name}.c DEPS writ_policy LABELS unit)
endforeach()
writ_test(test_policy_tree SOURCES unit/test_policy_tree.c DEPS writ_policy LABELS unit TIMEOUT 600)
writ_fuzz(policy DEPS writ_policy)
writ_fuzz(cases DEPS writ_policy)
writ_fuzz(names DEPS writ_policy)

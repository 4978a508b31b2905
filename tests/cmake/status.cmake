add_executable(bench_front bench/front.c)
target_link_libraries(bench_front PRIVATE writ_status)

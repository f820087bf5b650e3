#!/bin/sh
# What `make install` puts into a prefix is enough for others: a program outside the repository is built against it, shared
# and static, as C and as C++, and trains with it. `make uninstall` takes everything away again. Speaks cmocka's language.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix
build=$(dirname "${LEVEE:-build/levee}")
compiler=${CC:-cc}
case $compiler in
*clang*) cxx=clang++ ;;
*) cxx=c++ ;;
esac
. tests/checks.sh
# What a check prints is shown when it fails.
check() { name=$1; shift; if "$@" >"$work/log" 2>&1; then ok "$name"; else tail -n 20 "$work/log"; no "$name"; fi; }
here() { command -v "$1" >/dev/null; }

# What belongs to the make that runs the tests (its job server) is not meant for these.
install_by() { env -u MAKEFLAGS -u MAKELEVEL make "$1" BUILD="$build" CC="$compiler" SANITIZE="$SANITIZE" PREFIX="$prefix"; }
check installs install_by install

cat >"$work/user.c" <<'PROGRAM'
#include <levee.h>

#include <stdio.h>

static void count_lines(void *context, const char *text) {
    (void)text;
    ++*(unsigned *)context;
}

int main(int count, char **arguments) {
    static const levee_shape shape = {32, 48, 1, 2, 1, 16, 0, 0, "llama"};
    static const char *const given[][2] = {{"num_layers", "-1"}, {"iters", "1"}, {"batch_size", "1"}, {"memory", "4GiB"}};
    if (count != 4) return LEVEE_USAGE;
    levee_prepare();
    levee_error error;
    unsigned lines = 0;
    levee_options *options = levee_options_create();
    levee_status status = levee_init(arguments[1], &shape, 1, &error);
    if (status == LEVEE_OK) status = levee_options_set(options, "model", arguments[1], &error);
    if (status == LEVEE_OK) status = levee_options_set(options, "data", arguments[2], &error);
    if (status == LEVEE_OK) status = levee_options_set(options, "adapter-path", arguments[3], &error);
    for (unsigned i = 0; i < sizeof given / sizeof *given && status == LEVEE_OK; i++)
        status = levee_options_set(options, given[i][0], given[i][1], &error);
    if (status == LEVEE_OK) status = levee_train(options, count_lines, &lines, &error);
    levee_options_free(options);
    if (status != LEVEE_OK) fprintf(stderr, "%s\n", error.message);
    return status == LEVEE_OK && !lines ? LEVEE_INTERNAL : (int)status;
}
PROGRAM
# The example of a loop of one's own, which leaks: the guard ends it, cleanly and before its budget is passed.
guards() {
    # shellcheck disable=SC2046
    (cd "$work" && $compiler -std=c11 -Wall -Wextra -pedantic -Werror $SANITIZE "$OLDPWD/examples/guarded_loop.c" -o guarded_loop \
        -I"$prefix/include" -L"$prefix/lib" -llevee) || return 1
    LD_LIBRARY_PATH=$prefix/lib "$work/guarded_loop" >"$work/said"
    [ $? = 75 ]
}
check example_is_guarded guards
if [ -z "$SANITIZE" ]; then
    check example_uses_less_before grep -q '^step .*: shrink: the growth of memory' "$work/said"
fi
echo '{"text": "the tide comes in and the tide goes out"}' >"$work/train.jsonl"

# trains PROGRAM COMPILER SOURCE FLAGS: builds it outside the repository, and lets it train.
trains() {
    program=$work/$1
    # shellcheck disable=SC2086
    (cd "$work" && $2 -Wall -Wextra -pedantic -Werror $SANITIZE $3 -o "$program" $4) &&
        LD_LIBRARY_PATH=$prefix/lib "$program" "$program-model" "$work/train.jsonl" "$program-adapter" &&
        [ -s "$program-adapter/adapter_model.safetensors" ]
}
ask() { PKG_CONFIG_PATH=$prefix/lib/pkgconfig pkg-config "$@" levee; }
if here pkg-config; then
    shared=$(ask --cflags --libs)
    # Beside a shared library only its file name says that the static one is meant.
    static=$(ask --cflags --libs --static | sed 's/-llevee/-l:liblevee.a/')
    check program_with_the_shared_library trains shared "$compiler" '-std=c11 user.c' "$shared"
    check program_with_the_static_library trains static "$compiler" '-std=c11 user.c' "$static"
    check static_program_needs_no_shared_library sh -c "! ldd '$work/static' | grep liblevee"
    if here "$cxx"; then
        cp "$work/user.c" "$work/user.cc"
        check program_in_cxx trains in_cxx "$cxx" '-std=c++11 user.cc' "$shared"
    else skip program_in_cxx "there is no $cxx"; fi
    check pkg_config_knows_the_version [ "$(ask --modversion)" = "$("$prefix/bin/levee" --version | cut -d' ' -f2)" ]
else skip program_of_others 'there is no pkg-config'; fi

others=$(nm -D --defined-only "$prefix/lib/liblevee.so" | awk '{ print $NF }' | grep -vE '^levee_|^_(init|fini)$|^__asan_|^__ubsan_')
check only_public_names_are_exported [ -z "$others" ]

if here man; then
    MANWIDTH=80 man --warnings -l "$prefix/share/man/man1/levee.1" >"$work/page" 2>"$work/warnings"
    check manual_page [ -s "$work/page" -a ! -s "$work/warnings" ]
else skip manual_page 'there is no man'; fi
if here bash; then
    complete_by_bash() {
        bash -c 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _levee; echo "${COMPREPLY[*]}"' - \
            "$prefix/share/bash-completion/completions/levee" "$@"
    }
    check bash_completes_a_verb [ "$(complete_by_bash levee tr)" = train ]
    check bash_completes_an_option [ "$(complete_by_bash levee train --max-g)" = --max-grad-norm ]
    check bash_completes_a_value [ "$(complete_by_bash levee train --dtype b)" = bf16 ]
else skip bash_completes 'there is no bash'; fi
for completion in zsh:zsh/site-functions/_levee fish:fish/vendor_completions.d/levee.fish; do
    shell=${completion%%:*}
    if here "$shell"; then check "${shell}_reads_its_completion" "$shell" -n "$prefix/share/${completion#*:}"
    else skip "${shell}_reads_its_completion" "there is no $shell"; fi
done

check uninstalls install_by uninstall
left=$(find "$prefix" ! -type d)
check uninstall_leaves_nothing [ -z "$left" ]
exit $failed

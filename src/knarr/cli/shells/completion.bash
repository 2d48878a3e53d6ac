# Completion of knarr in bash. Load it with: source <(knarr completion bash)

_knarr() {
    local line=${COMP_LINE:0:COMP_POINT} current prefix found
    local -a words
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    current=${words[-1]}
    COMPREPLY=()
    while IFS=$'\t' read -r found _; do
        if [[ $found == :files ]]; then
            compopt -o default 2>/dev/null
            return
        fi
        COMPREPLY+=("$found")
    done < <("${words[0]}" __complete "${words[@]:1}" 2>/dev/null)
    [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *: ]] && compopt -o nospace 2>/dev/null
    # readline takes what ends with : or = for a word of its own
    prefix=${current%"${current##*[:=]}"}
    COMPREPLY=("${COMPREPLY[@]#"$prefix"}")
}

complete -F _knarr knarr

#compdef knarr
# Completion of knarr in zsh: a file _knarr in $fpath, or: source <(knarr completion zsh)

_knarr() {
    local line word
    local -a candidates
    for line in "${(@f)$("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        [[ $line == :files ]] && { _files; return }
        word=${line%%$'\t'*}
        [[ -n $word ]] && candidates+=("${word//:/\\:}${${line#$word}/$'\t'/:}")
    done
    _describe -t words word candidates
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _knarr "$@"
else
    compdef _knarr knarr
fi

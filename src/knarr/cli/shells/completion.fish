# Completion of knarr in fish: ~/.config/fish/completions/knarr.fish, or: knarr completion fish | source

function __knarr_complete
    set -l words (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token --cut-at-cursor)
    set -l found ($words[1] __complete $words[2..] 2>/dev/null)
    if test "$found[1]" = :files
        __fish_complete_path (commandline --current-token)
    else
        printf '%s\n' $found
    end
end

complete --command knarr --no-files --arguments '(__knarr_complete)'

# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# bash completion for hubkeyctl(1).

_hubkeyctl_options() {
    case $1 in
    provision)
        echo --connection-string-file --host-name --device-id --module-id --gateway --audience --key-name --key-file --storage
        ;;
    adopt) echo --host-name --device-id --name ;;
    rotate) echo --connection-string-file --key-file --undo ;;
    clear) echo --yes ;;
    token) echo --scope --ttl ;;
    why) echo --user --scope ;;
    doctor) echo --network ;;
    audit) echo --since --slot --user --file ;;
    send) echo --property --content-type --encoding --queue --ack --wait --queue-only --max-bytes --policy --dry-run ;;
    "queue status" | "queue rebind") echo --queue ;;
    "queue flush") echo --queue --wait ;;
    "queue drop") echo --queue --dead --all --yes ;;
    esac
    echo --json --socket --help --version
}

# The numbers of the slots in use.
_hubkeyctl_slots() {
    hubkeyctl list --json 2>/dev/null | sed -n 's/^{"slot":\([0-9]*\),.*/\1/p'
}

_hubkeyctl() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    local command='' i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --socket) ((i++)) ;;
        -*) ;;
        *)
            if [[ -z $command ]]; then
                command=${COMP_WORDS[i]}
            elif [[ $command == queue ]]; then
                command="queue ${COMP_WORDS[i]}"
            fi
            ;;
        esac
    done
    COMPREPLY=()
    case $prev in
    --connection-string-file | --key-file | --queue | --socket | --file)
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        compopt -o filenames 2>/dev/null
        return
        ;;
    --slot)
        mapfile -t COMPREPLY < <(compgen -W "$(_hubkeyctl_slots)" -- "$cur")
        return
        ;;
    --user)
        mapfile -t COMPREPLY < <(compgen -u -- "$cur")
        return
        ;;
    --storage)
        mapfile -t COMPREPLY < <(compgen -W 'tpm file' -- "$cur")
        return
        ;;
    --policy)
        mapfile -t COMPREPLY < <(compgen -W 'refuse block drop-oldest' -- "$cur")
        return
        ;;
    --host-name | --device-id | --module-id | --gateway | --audience | --key-name | --name) return ;;
    --since | --scope | --ttl | --property | -p | --content-type | --encoding | --wait | --max-bytes) return ;;
    esac
    if [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_hubkeyctl_options "$command")" -- "$cur")
    elif [[ -z $command ]]; then
        mapfile -t COMPREPLY < <(compgen -W 'status list show provision adopt rotate clear token why reload send queue
            audit doctor help' -- "$cur")
    elif [[ $command == queue ]]; then
        mapfile -t COMPREPLY < <(compgen -W 'status flush rebind drop' -- "$cur")
    elif [[ ! $command =~ ^(status|list|reload|audit|doctor)$ ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_hubkeyctl_slots)" -- "$cur")
    fi
}

complete -F _hubkeyctl hubkeyctl

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
    "queue flush") echo --queue --wait ;;
    "queue drop") echo --queue --dead --all --through --yes ;;
    "queue list") echo --queue --dead --limit ;;
    "queue peek" | "queue export") echo --queue --dead ;;
    "queue requeue") echo --queue --all ;;
    "queue "*) echo --queue ;;
    esac
    echo --json --socket --help --version
}

# The numbers of the slots in use.
_hubkeyctl_slots() {
    hubkeyctl list --json 2>/dev/null | sed -n 's/^{"slot":\([0-9]*\),.*/\1/p'
}

# The numbers of messages in the queue that the command line names so far: --queue FILE, or N.
_hubkeyctl_messages() {
    hubkeyctl queue list "$@" --json --limit 100 2>/dev/null | sed -n 's/^{"seq":\([0-9]*\),.*/\1/p'
}

# Offers the words of $1 that begin with $cur.
_hubkeyctl_offer() {
    mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur")
}

_hubkeyctl_offer_files() {
    mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    compopt -o filenames 2>/dev/null
}

# Looks at the words before the one at the cursor: sets $command, $n_arguments behind it, and $queue, how a queue was
# named.
_hubkeyctl_read_words() {
    local i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --queue)
            [[ ${COMP_WORDS[i + 1]} == = ]] && ((i++))
            ((i++))
            queue=(--queue "${COMP_WORDS[i]}")
            ;;
        --connection-string-file | --key-file | --socket | --file | --slot | --user | --storage | --policy | \
            --host-name | --device-id | --module-id | --gateway | --audience | --key-name | --name | --since | \
            --scope | --ttl | --property | -p | --content-type | --encoding | --wait | --max-bytes | --limit | --through)
            [[ ${COMP_WORDS[i + 1]} == = ]] && ((i++))
            ((i++))
            ;;
        -*) ;;
        *)
            if [[ -z $command || $command == help ]]; then
                command=${COMP_WORDS[i]}
            elif [[ $command == queue ]]; then
                command="queue ${COMP_WORDS[i]}"
            else
                ((n_arguments++ == 0)) && [[ -z ${queue[*]} ]] && queue=("${COMP_WORDS[i]}")
            fi
            ;;
        esac
    done
}

_hubkeyctl_offer_argument() {
    local messages=()
    case $command in
    '' | help)
        _hubkeyctl_offer 'status list show provision adopt rotate clear token why reload send queue audit doctor help'
        return
        ;;
    queue)
        _hubkeyctl_offer 'status list peek flush pump drop export import requeue rebind check'
        return
        ;;
    status | list | reload | audit | doctor) return ;;
    esac
    # With --queue FILE these take no slot first.
    if [[ $command =~ ^queue\ (peek|import|requeue)$ && (${queue[0]} == --queue || $n_arguments -gt 0) ]]; then
        case $command in
        "queue import") [[ $n_arguments -le 1 ]] && _hubkeyctl_offer_files ;;
        "queue peek") messages=("${queue[@]}") ;;
        "queue requeue") messages=("${queue[@]}" --dead) ;;
        esac
        [[ -n ${messages[*]} ]] && _hubkeyctl_offer "$(_hubkeyctl_messages "${messages[@]}")"
    elif ((n_arguments == 0)); then
        _hubkeyctl_offer "$(_hubkeyctl_slots)"
    fi
}

_hubkeyctl() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    local command='' n_arguments=0 queue=()
    # bash takes --option=value for three words.
    if [[ $cur == = ]]; then
        cur=''
    elif [[ $prev == = ]]; then
        prev=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    COMPREPLY=()
    case $prev in
    --connection-string-file | --key-file | --queue | --socket | --file)
        _hubkeyctl_offer_files
        return
        ;;
    --slot)
        _hubkeyctl_offer "$(_hubkeyctl_slots)"
        return
        ;;
    --user)
        mapfile -t COMPREPLY < <(compgen -u -- "$cur")
        return
        ;;
    --storage)
        _hubkeyctl_offer 'tpm file'
        return
        ;;
    --policy)
        _hubkeyctl_offer 'refuse block drop-oldest'
        return
        ;;
    --host-name | --device-id | --module-id | --gateway | --audience | --key-name | --name) return ;;
    --since | --scope | --ttl | --property | -p) return ;;
    --content-type | --encoding | --wait | --max-bytes | --limit | --through) return ;;
    esac
    _hubkeyctl_read_words
    if [[ $cur == -* ]]; then
        _hubkeyctl_offer "$(_hubkeyctl_options "$command")"
    else
        _hubkeyctl_offer_argument
    fi
}

complete -F _hubkeyctl hubkeyctl

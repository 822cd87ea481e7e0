#!/bin/sh
# The provider's own clients against the sandbox.
#
#   tests/official-clients.sh URL [NODE_MODULES]
#
# URL is a sandbox that takes any token (`truenorth sandbox`). NODE_MODULES is a folder with @northflank/cli and
# @northflank/js-client; without it, ./node_modules. Where they are not installed, nothing is tried and the exit code
# is 0. Where TRUENORTH names the binary, the JS client also reads back what truenorth wrote. The clients get a home of their own, and reach nothing but URL, which must be on loopback.
set -eu

url=${1:?usage: $0 URL [NODE_MODULES]}
modules=${2:-node_modules}
case $url in
    http://127.0.0.1:* | http://localhost:* | 'http://[::1]:'*) ;;
    *) echo "not a loopback address: $url" >&2; exit 64 ;;
esac
if ! command -v node >/dev/null || [ ! -x "$modules/.bin/northflank" ] || [ ! -d "$modules/@northflank/js-client" ]; then
    echo "skipped: the official clients are not installed in $modules"
    exit 0
fi
modules=$(cd "$modules" && pwd)

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT INT TERM
export HOME="$home" NO_COLOR=1

expect() { # expect PATTERN TEXT WHAT
    case $2 in
        *"$1"*) echo "ok: $3" ;;
        *) printf 'failed: %s: no `%s` in:\n%s\n' "$3" "$1" "$2" >&2; exit 1 ;;
    esac
}
northflank() { timeout 60 "$modules/.bin/northflank" "$@" 2>&1; }

project=clients-$$
out=$(northflank login -n sandbox -t any-token --host "$url")
expect 'Successfully logged in' "$out" 'the command line logs in'
out=$(northflank update service deployment --projectId "$project" --serviceId web \
    -i '{"external":{"imagePath":"ghcr.io/acme/web:1.2","credentials":"ghcr"},"docker":{"configType":"customCommand","customCommand":"run"}}')
expect 'HTTP status: OK' "$out" 'the command line sends an update'
out=$(northflank get service --projectId "$project" --serviceId web -o json)
expect '"imageUrl": "ghcr.io/acme/web:1.2"' "$out" 'the command line reads back what it sent'
out=$(northflank list services --projectId "$project" -o json)
expect '"serviceType": "deployment"' "$out" 'the command line lists services'
out=$(northflank update service deployment --projectId "$project" --serviceId web -i '{"external":{"imagePath":"nginx"}}' || true)
expect 'external.imagePath' "$out" 'the command line shows which field a refusal names'

if [ -n "${TRUENORTH:-}" ]; then
    mkdir "$home/manifests"
    cat >"$home/manifests/worker.yaml" <<END
apiVersion: truenorth/v1
kind: ServiceDeployment
metadata: {projectId: $project, serviceId: worker}
spec:
  external: {imagePath: "ghcr.io/acme/worker:2.0", credentials: ghcr}
  docker: {configType: customCommand, customCommand: work hard}
END
    out=$(NORTHFLANK_API_TOKEN=any-token "$TRUENORTH" --reconcile-once --api-url "$url" --state-dir "$home/state" \
        --manifests "$home/manifests" 2>&1)
    expect '1 updated' "$out" 'truenorth sends an update'
fi

cat >"$home/client.js" <<'JS'
const assert = require('assert');
const [, , modules, host, project] = process.argv;
const { ApiClient, ApiClientInMemoryContextProvider } = require(`${modules}/@northflank/js-client`);

(async () => {
  const context = new ApiClientInMemoryContextProvider();
  await context.addContext({ name: 'sandbox', host, token: 'any-token' });
  const api = new ApiClient(context, { throwErrorOnHttpErrorCode: true });
  const parameters = { projectId: project, serviceId: 'api' };
  await api.update.service.deployment({
    parameters,
    data: { internal: { id: 'builder', branch: 'main', buildSHA: 'latest' }, docker: { configType: 'default' } },
  });
  const { data: service } = await api.get.service({ parameters });
  assert.equal(service.deployment.internal.nfObjectId, 'builder');
  assert.equal(service.deployment.internal.buildSHA, 'latest');
  assert.match(service.deployment.internal.deployedSHA, /^[0-9a-f]{40}$/);
  await api.patch.service.deployment({ parameters, data: { deployment: { instances: 3 } } });
  const { data: deployment } = await api.get.service.deployment({ parameters });
  assert.equal(deployment.instances, 3);
  const many = Array.from({ length: 7 }, (_, n) => ({ projectId: `${project}-many`, serviceId: `s${n}` }));
  for (const parameters of many) await api.get.service({ parameters });
  const { data } = await api.list.services.all({ parameters: { projectId: `${project}-many` }, options: { per_page: 3 } });
  assert.deepEqual(data.services.map((service) => service.id), many.map(({ serviceId }) => serviceId));
  await assert.rejects(api.update.service.deployment({ parameters, data: {} }));
  if (process.env.TRUENORTH) {
    const { data: written } = await api.get.service({ parameters: { projectId: project, serviceId: 'worker' } });
    assert.equal(written.deployment.external.imagePath, 'acme/worker:2.0');
    assert.equal(written.deployment.external.privateImage, true);
    assert.equal(written.deployment.docker.customCommand, 'work hard');
    console.log('ok: the JS client reads back what truenorth wrote');
  }
  console.log('ok: the JS client updates, patches, reads and lists');
})().catch((error) => {
  console.error('failed: the JS client:', error);
  process.exit(1);
});
JS
timeout 60 node "$home/client.js" "$modules" "$url" "$project"

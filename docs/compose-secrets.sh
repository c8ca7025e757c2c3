#!/bin/sh
# Makes the secrets that docker-compose.yml reads, one file each, in a directory that only its owner can enter.
# It replaces nothing: what is there stays, and sealed data stays readable. Usage: sh docs/compose-secrets.sh [DIRECTORY]
set -eu
directory=${1:-secrets}
mkdir -p "$directory"
# the servers run as users of their own and read the files through a mount, so the directory is the lock
chmod 700 "$directory"
umask 022

random() { head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n'; }
word() { head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
keep() { [ -e "$directory/$1" ] || printf '%s' "$2" > "$directory/$1"; }
value() { cat "$directory/$1"; }
digest() { printf '%s' "$(value "$1")" | sha256sum | cut -d' ' -f1; }

for name in keystage_vault_keys keystage_key_peppers keystage_audit_keys; do keep $name "$(word | cut -c1-8):$(random)"; done
# an Ed25519 pair: the sweeper signs the audit log's checkpoints, and whoever checks them has the public half
if [ ! -e "$directory/keystage_audit_signing_key" ]; then
  id=$(word | cut -c1-8)
  pair=$(mktemp)
  openssl genpkey -algorithm ed25519 -outform DER -out "$pair"
  half() { tail -c 32 | base64 | tr '+/' '-_' | tr -d '\n'; }
  keep keystage_audit_verify_keys "$id:$(openssl pkey -inform DER -in "$pair" -pubout -outform DER | half)"
  keep keystage_audit_signing_key "$id:$(half < "$pair")"
  rm "$pair"
fi
for name in mongo_root_password mongo_password redis_limits_password redis_broker_password redis_probe_password; do
  keep $name "$(word)"
done
keep mongo_keyfile "$(random)$(random)"
keep keystage_qdrant_api_key "$(word)"
keep keystage_ray_auth_token "$(word)"
keep qdrant.yaml "service: { api_key: $(value keystage_qdrant_api_key) }"

keep keystage_mongo_url "mongodb://keystage:$(value mongo_password)@mongo:27017/keystage?replicaSet=keystage&authSource=keystage"
keep keystage_redis_url "redis://limits:$(value redis_limits_password)@redis:6379/0"
keep keystage_broker_url "redis://broker:$(value redis_broker_password)@redis:6379/0"

# each user has the keys and commands of one purpose; nobody may empty, configure or list the server
common='+ping +auth +hello +select +client|setname +client|setinfo +client|id'
keep redis_users.acl "user default off
user limits on #$(digest redis_limits_password) resetchannels ~ks:* &ks:* -@all $common +@string +@hash +@list +@set +@sortedset +eval +evalsha +script|load +script|exists +@transaction +@pubsub +del +unlink +exists +expire +pexpire +ttl +pttl +time
user broker on #$(digest redis_broker_password) ~keystage.interactive ~keystage.batch ~_kombu.* resetchannels &/* &celery* -@all $common +@list +@hash +@set +@sortedset +@transaction +@pubsub +get +set +del +exists +expire +pexpire +eval +evalsha
user probe on #$(digest redis_probe_password) resetchannels -@all +ping +auth
"

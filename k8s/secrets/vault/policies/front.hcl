# The front: its own credential. With what it can read it opens no entry of the pool.
path "secret/data/forebay/ENVIRONMENT/front" { capabilities = ["read"] }

# Its token's own life, in place of the policy `default`.
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }

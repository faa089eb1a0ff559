# External Secrets: makes the Secrets of one environment, so it reads all of these and nothing else.
path "secret/data/forebay/ENVIRONMENT/pool" { capabilities = ["read"] }
path "secret/data/forebay/ENVIRONMENT/redis" { capabilities = ["read"] }
path "secret/data/forebay/ENVIRONMENT/credentials" { capabilities = ["read"] }
path "secret/data/forebay/ENVIRONMENT/front" { capabilities = ["read"] }

# Its token's own life, in place of the policy `default`.
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }

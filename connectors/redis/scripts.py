"""The two Lua scripts of the Redis store: what must happen as one step happens here.

A partition's keys (base = its hash tag):

    base:head           hash: counter, token, meta, and s<number> -> generation for each shard
    base:garbage        set: shard values that may be removed unless the head names them
    base:<number>:<generation>    one shard's bytes

I know nothing of connections.
"""

ACQUIRE = """
local head, garbage = KEYS[1], KEYS[2]
redis.call('HINCRBY', head, 'counter', 1)
redis.call('HSET', head, 'token', ARGV[1])
return {redis.call('HGETALL', head), redis.call('SMEMBERS', garbage)}
"""
"""KEYS head, garbage; ARGV token. Raises the epoch; returns the head and the names to be looked through."""

FLIP = """
local head, garbage = KEYS[1], KEYS[2]
local base, counter, token, generation, meta, is_full = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local owner = redis.call('HMGET', head, 'counter', 'token')
if owner[1] ~= counter or owner[2] ~= token then
    return false
end
local named = {}
for i = 7, #ARGV do
    local field = 's' .. ARGV[i]
    named[field] = true
    local before = redis.call('HGET', head, field)
    if before ~= generation then
        if before then
            redis.call('SADD', garbage, base .. ':' .. ARGV[i] .. ':' .. before)
        end
        redis.call('HSET', head, field, generation)
        redis.call('SREM', garbage, base .. ':' .. ARGV[i] .. ':' .. generation)
    end
end
if is_full == '1' then
    local fields = redis.call('HGETALL', head)
    for i = 1, #fields, 2 do
        local field = fields[i]
        if string.sub(field, 1, 1) == 's' and not named[field] then
            redis.call('SADD', garbage, base .. ':' .. string.sub(field, 2) .. ':' .. fields[i + 1])
            redis.call('HDEL', head, field)
        end
    end
end
redis.call('HSET', head, 'meta', meta)
return redis.call('SMEMBERS', garbage)
"""
"""KEYS head, garbage; ARGV base, counter, token, generation, meta, is_full, shard numbers.

Returns the names that may now be removed, or nothing, having changed nothing, if the epoch is another. Running it
twice is the same as once."""

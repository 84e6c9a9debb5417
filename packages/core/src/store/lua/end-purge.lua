--- Notes that nothing is left of the tasks of a deleted artifact whose id was used again.
---
--- @key artifact
--- @arg deletedAtMs       when it was deleted

if redis.call('HGET', artifact, 'purgeUntil') == deletedAtMs then redis.call('HDEL', artifact, 'purgeUntil') end

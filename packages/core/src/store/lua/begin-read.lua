--- Says where the bytes of a blob are, and gives the first of them: code is mostly one chunk.
---
--- @key meta
--- @arg chunkPrefix       what the keys of all chunks begin with, which lie in the same slot
--- @return {upload id, chunks, bytes}, or nil

local blob = redis.call('HMGET', meta, 'uploadId', 'chunks')
if not blob[1] then return nil end
return {blob[1], blob[2], redis.call('GET', chunkPrefix .. blob[1] .. ':0')}

--- Makes an upload the blob, if all its chunks are there. A blob that is there already stays as it is; one that has lost
--- chunks is replaced, so that uploading the same bytes again repairs it.
---
--- @key meta
--- @key ...uploaded       the chunks of this upload
--- @arg uploadId
--- @arg sizeBytes
--- @arg chunks            how many
--- @arg nowMs
--- @arg chunkPrefix       what the keys of all chunks begin with
--- @return 1, 0 where an intact one was there, 2 where a broken one was replaced, -1 where a chunk has expired

local standing = redis.call('HMGET', meta, 'uploadId', 'sizeBytes', 'chunks')
if standing[1] then
  local size = 0
  for i = 0, tonumber(standing[3]) - 1 do
    size = size + redis.call('STRLEN', chunkPrefix .. standing[1] .. ':' .. i)
  end
  if size == tonumber(standing[2]) then
    redis.call('HSET', meta, 'storedAtMs', nowMs)
    return 0
  end
end
for _, chunk in ipairs(uploaded) do
  if redis.call('PERSIST', chunk) == 0 then return -1 end
end
if standing[1] then
  for i = 0, tonumber(standing[3]) - 1 do redis.call('UNLINK', chunkPrefix .. standing[1] .. ':' .. i) end
end
redis.call('HSET', meta, 'uploadId', uploadId, 'sizeBytes', sizeBytes, 'chunks', chunks, 'storedAtMs', nowMs)
return standing[1] and 2 or 1

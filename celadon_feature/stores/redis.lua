-- One row: a hash with state, attempts, token, expires (ms since 1970) and answer. A single script, so that every step
-- of it is atomic; times are the server's.
-- KEYS: the row. ARGV: what to do, token, attempts_made, milliseconds until it expires, to keep it for, state, answer.
local row = redis.call('HMGET', KEYS[1], 'state', 'attempts', 'token', 'expires', 'answer')
local state, attempts, token = row[1], tonumber(row[2]), row[3]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local mine = token == ARGV[2]

if state == 'running' and tonumber(row[4]) <= now then
  state = 'interrupted'
end

if ARGV[1] == 'look' then
  return {state or 'unknown', attempts or 0, row[5] or ''}
end

if ARGV[1] == 'begin' then
  -- `mine`: the client sends again what it got no answer to.
  local stops = (state == 'running' and not mine) or state == 'succeeded'
    or (state == 'failed' and tonumber(ARGV[3]) <= attempts)
  if stops then
    return {state, attempts, row[5]}
  end
  redis.call('HSET', KEYS[1], 'state', 'running', 'attempts', ARGV[3], 'token', ARGV[2],
    'expires', string.format('%.0f', now + ARGV[4]), 'answer', '')
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
  return false
end

if not mine then
  return 0
end
local runs = state == 'running' or state == 'interrupted'

if ARGV[1] == 'renew' then
  if runs then
    redis.call('HSET', KEYS[1], 'expires', string.format('%.0f', now + ARGV[4]))
    redis.call('PEXPIRE', KEYS[1], ARGV[5])
  end
  return runs and 1 or 0
end

if ARGV[1] == 'abandon' then
  if runs then
    redis.call('HSET', KEYS[1], 'expires', '0', 'token', '')
  end
  return 1
end

if ARGV[1] == 'finish' then
  if runs then
    redis.call('HSET', KEYS[1], 'state', ARGV[6], 'answer', ARGV[7])
    redis.call('PEXPIRE', KEYS[1], ARGV[5])
  end
  return 1  -- Also when this very run has finished it already.
end

return redis.error_reply('unknown: ' .. ARGV[1])

package redisstore

// The scripts run for every request, so they make few calls, and use neither
// tables nor functions where one value suffices. Stored values and arguments are
// packed, because Lua reads and writes text slowly: all numbers are doubles,
// "<d", which hold integers up to 2^53 exactly.
//
// A Strict limit is stored as the sum of its spent units and then, the newest
// first, as pairs of a moment and the units that are free again at that moment:
//
//	sum  free units  free units  …
//
// The parts that change most are at the beginning: new pairs are put in front,
// and pairs that have left the window are cut off at the end. A Smooth limit is
// its theoretical arrival time, in microseconds and nanoseconds.
//
// ARGV[1] has, for each key, chargeSize bytes: the kind of counting, and five
// numbers:
//
//	exact, by parts  cost, quota, window, a tenth of the window, 0
//	smooth           the window, and the cost and the tolerance, each in
//	                 microseconds and nanoseconds
const (
	countsExactly = 0 // each charge is free after the window
	countsByParts = 1 // all charges of a tenth of the window are free together
	countsSmooth  = 2

	chargeSize = 1 + 5*8
)

// common begins each script.
const common = `
local call, read, write, sub = redis.call, struct.unpack, struct.pack, string.sub
local time = call('TIME')
local now = time[1] * 1000000 + time[2]
`

// decide computes whether the i-th charge fits, and the stored state of its key.
const decide = `
  local kind, a, b, c, d, e = read('<Bddddd', ARGV[1], i * 41 - 40)
  local value, refused, moved = call('GET', KEYS[i]), false, false
  local used, newest, units, oldest, size = 0, 0, 0, 0, 8
  local us, ns, nextUs, nextNs, over = now, 0, 0, 0, 0
  if kind < 2 then
    if value then
      size = #value
      used, newest, units = read('<ddd', value)
      if size % 16 ~= 8 or not (newest > 0 and units >= 1 and units <= used and used < 9007199254740992) then
        error('a damaged value')
      end
      if newest > now + 11 * d then -- the clock was set back
        local list = {}
        newest, moved = now + 11 * d, true
        for at = 9, size, 16 do
          local free, n = read('<dd', value, at)
          list[#list + 1] = write('<dd', math.min(free, newest), n)
        end
        value = sub(value, 1, 8) .. table.concat(list)
      end
      local left
      oldest, left = read('<dd', value, size - 15)
      if oldest > newest then error('a damaged value') end
      while oldest <= now do
        used, size = used - left, size - 16
        if size == 8 then
          newest, oldest = 0, 0
          break
        end
        oldest, left = read('<dd', value, size - 15)
      end
      if (used > 0) ~= (size > 8) then error('a damaged value') end
    end
    refused = used + a > b
  else
    if value then
      us, ns = read('<dd', value)
      if #value ~= 16 or not (us > 0 and us < 9007199254740992 and ns >= 0 and ns < 1000) then
        error('a damaged value')
      end
      local longest = now + a + math.ceil(a / 1000) + 1
      if us < now then
        us, ns = now, 0
      elseif us > longest then -- the clock was set back
        us, ns, moved = longest, 0, true
      end
    end
    nextUs, nextNs = us + b, ns + c
    if nextNs >= 1000 then nextUs, nextNs = nextUs + 1, nextNs - 1000 end
    over = nextUs - now - d
    if nextNs > e then over = over + 1 end
    refused = over > 0
  end
`

// charge makes the i-th charge if all fit, and sets its part of the reply: x, y
// and z.
const charge = `
  local x, y, z = 0, 0, 0
  if kind < 2 then
    if fits then
      local free = now + c
      if kind == 1 then free = now - now % d + 11 * d end
      used = used + a
      if free == newest then
        local head = write('<ddd', used, free, units + a)
        if size == #value and not moved then
          call('SETRANGE', KEYS[i], '0', head)
        else
          call('SET', KEYS[i], head .. sub(value, 25, size), 'PX', math.ceil((free - now) / 1000) + 1)
        end
      elseif free > newest then
        if size == 8 then value, oldest = '', free end
        call('SET', KEYS[i], write('<ddd', used, free, a) .. sub(value, 9, size), 'PX', math.ceil((free - now) / 1000) + 1)
      else -- the clock was set back
        local at, after, n = 9, newest, units
        while after > free do
          at = at + 16
          if at > size then break end
          after, n = read('<dd', value, at)
        end
        local rest = at
        if after == free then a, rest = a + n, at + 16 end
        call('SET', KEYS[i], write('<d', used) .. sub(value, 9, at - 1) .. write('<dd', free, a) .. sub(value, rest, size),
          'PX', math.ceil((newest - now) / 1000) + 1)
        oldest = math.min(oldest, free)
      end
    elseif moved then
      call('SET', KEYS[i], write('<d', used) .. sub(value, 9, size), 'PX', math.ceil((newest - now) / 1000) + 1)
    end
    if used < b then x = b - used end
    if used > 0 then z = oldest - now end
    if refused then
      local fit, more = used + a - b, used - b + 1
      while size > 8 and (fit > 0 or more > 0) do
        local free, n = read('<dd', value, size - 15)
        if fit > 0 then y = free - now end
        if more > 0 then z = free - now end
        fit, more, size = fit - n, more - n, size - 16
      end
    end
  else
    if fits then us, ns = nextUs, nextNs end
    if fits or moved then call('SET', KEYS[i], write('<dd', us, ns), 'PX', math.ceil((us - now) / 1000) + 1) end
    x, z = us - now, ns
    if refused then y = over end
  end
`

// takeScript decides about all charges, and then makes all or none. It begins
// with a fast path for the usual request: a single charge that fits, in the same
// tenth of the window as the charge before it.
//
// The reply is the moment of the charges, or 0 if a charge was refused and none
// was made, and for each key
//
//	exact, by parts  Remaining, and Reset
//	smooth           the debt in microseconds and nanoseconds
//
// and, if a charge was refused, whether it is this one, and RetryAfter.
const takeScript = common + `
if #KEYS == 1 then
  local kind, cost, quota, window, tenth = read('<Bdddd', ARGV[1])
  local value = kind == 1 and call('GET', KEYS[1])
  if value and #value % 16 == 8 then
    local used, newest, units = read('<ddd', value)
    local oldest = read('<d', value, #value - 15)
    if oldest > now and newest == now - now % tenth + 11 * tenth and used + cost <= quota then
      call('SETRANGE', KEYS[1], '0', write('<ddd', used + cost, newest, units + cost)) -- the key ends when it did
      return {now, quota - used - cost, oldest - now}
    end
  end

  local i = 1
` + decide + `
  local fits = not refused
` + charge + `
  if fits then return {now, x, z} end
  return {0, x, z, 1, y}
end

local plans, fits = {}, true
for i = 1, #KEYS do
` + decide + `
  plans[i] = {kind, a, b, c, d, e, value, refused, moved, used, newest, units, oldest, size, us, ns, nextUs, nextNs, over}
  if refused then fits = false end
end
local answer = {fits and now or 0}
for i = 1, #KEYS do
  local kind, a, b, c, d, e, value, refused, moved, used, newest, units, oldest, size, us, ns, nextUs, nextNs, over = unpack(plans[i])
` + charge + `
  local n = #answer
  answer[n + 1], answer[n + 2] = x, z
  if not fits then answer[n + 3], answer[n + 4] = refused and 1 or 0, y end
end
return answer
`

// refundScript gives back charges that were made at the moment ARGV[2]: the same
// units, or units that are free no later. Units that have come back by themselves
// are not given back again.
const refundScript = common + `
local moment = tonumber(ARGV[2])
for i = 1, #KEYS do
  local kind, a, b, c, d = read('<Bdddd', ARGV[1], i * 41 - 40)
  local key, value = KEYS[i], call('GET', KEYS[i])
  if not value then
    -- all of it has come back
  elseif kind < 2 then
    if #value < 24 or #value % 16 ~= 8 then error('a damaged value') end
    if moment + c > now then
      local exact, counted = moment + c, moment - moment % d + 11 * d
      local list, used, left, newest = {}, 0, a, 0
      for at = #value - 15, 9, -16 do
        local free, units = read('<dd', value, at)
        if free == exact or free == counted then
          local gone = math.min(left, units)
          units, left = units - gone, left - gone
        end
        if units > 0 and free > now then
          table.insert(list, 1, write('<dd', free, units))
          used, newest = used + units, free
        end
      end
      if left < a and used == 0 then
        call('DEL', key)
      elseif left < a then
        call('SET', key, write('<d', used) .. table.concat(list), 'PX', math.ceil((newest - now) / 1000) + 1)
      end
    end
  else
    if #value ~= 16 then error('a damaged value') end
    local us, ns = read('<dd', value)
    local backUs, backNs = moment + b - now, c
    if backUs >= 0 then
      us, ns = us - backUs, ns - backNs
      if ns < 0 then us, ns = us - 1, ns + 1000 end
      if us < now then
        call('DEL', key)
      else
        call('SET', key, write('<dd', us, ns), 'PX', math.ceil((us - now) / 1000) + 1)
      end
    end
  end
end
return 1
`

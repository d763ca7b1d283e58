-- Sends the lines of a file one after the other, from a given one on: bodies of POST requests, or
-- paths of GET requests. Writes what was measured as JSON behind wrk's own report.
-- Arguments: method, path, file, number of the first line.

local lines, count, position = {}, 0, 0
local method, path

function init(args)
  method, path = args[1], args[2]
  for line in io.lines(args[3]) do
    count = count + 1
    lines[count] = line
  end
  position = tonumber(args[4])
  wrk.headers["Content-Type"] = "application/json"
end

function request()
  local line = lines[position % count + 1]
  position = position + 1
  if method == "GET" then
    return wrk.format("GET", line)
  end
  return wrk.format(method, path, nil, line)
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\nMEASURED {"requests": %d, "microseconds": %d, "bytes": %d, "p50": %d, "p99": %d, ' ..
    '"broken": %d, "refused": %d}\n',
    summary.requests, summary.duration, summary.bytes,
    latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.timeout, errors.status))
end

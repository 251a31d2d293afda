-- wrk: posts the file named by SOSIGW_BODY with the headers a client of the gateway sends.
local f = assert(io.open(os.getenv("SOSIGW_BODY"), "rb"))
wrk.method = "POST"
wrk.body = f:read("*a")
f:close()
wrk.headers["Content-Type"] = "text/xml; charset=utf-8"
wrk.headers["SOAPAction"] = '""'
local secret = os.getenv("SOSIGW_SECRET")
if secret then wrk.headers["SOSIGW-Secret"] = secret end
local bad = 0
function response(status) if status ~= 200 then bad = bad + 1 end end
function done(summary, latency)
	io.write(string.format('{"requests":%d,"duration_us":%d,"p50":%d,"p99":%d,"max":%d,"status_errors":%d,"socket_errors":%d}\n',
		summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
		summary.errors.status, summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end

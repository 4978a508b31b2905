-- Asks writ-authz(8) about each request: sets txn.writ_status, and what its answer says of the agent.  Whatever fails leaves the status
-- unset, and the configuration denies.
local ANSWERS = { "agent", "root", "task", "entitlement", "expires", "reason" }

core.register_action("writ_authz", { "http-req" }, function(txn)
	local der = txn.f:ssl_c_der()
	local answer = core.httpclient():get {
		url = "http://127.0.0.1/v1/check",
		dst = "unix@/run/writ-authz/authz.sock",
		timeout = 5000,
		headers = {
			["X-Writ-Certificate"] = { der and txn.c:base64(der) or "" },
			["X-Writ-Method"] = { txn.f:method() },
			["X-Writ-Target"] = { txn.f:pathq() },
			["X-Writ-Peer"] = { txn.f:src() },
		},
	}
	txn:set_var("txn.writ_status", answer.status)
	for _, name in ipairs(ANSWERS) do
		local value = answer.headers and answer.headers["x-writ-" .. name]
		if value then
			txn:set_var("txn.writ_" .. name, value[0])
		end
	end
end)

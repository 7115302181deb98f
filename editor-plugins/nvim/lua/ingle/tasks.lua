--- What takes a while and can be cancelled: changes, explanations, loading a model.

local client = require('ingle.client')
local notify = require('ingle.notify')

local M = {}

--- Handle → what it does, in a few words.
local running = {}

--- Run a command of the server, and say what is being done.
---@param what string like `writing tests`
---@param name string
---@param argument table|function|nil
---@param done function gets the result; errors are told
---@param buffer integer|nil
function M.run(what, name, argument, done, buffer)
  local handle
  handle = client.command(name, argument, function(err, result)
    running[handle] = nil
    if err then
      notify.failure(err)
    else
      done(result)
    end
  end, buffer)
  running[handle] = what
  notify.progress(what .. '…')
end

--- Cancel everything.
---@return integer how many there were
function M.cancel_all()
  local count = 0
  for handle in pairs(running) do
    handle.cancel()
    count = count + 1
  end
  running = {}
  return count
end

return M

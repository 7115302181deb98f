--- The language server `ingle-lsp`: its process, the buffers it knows, requests to it.
---
--- Owns one client for all of Neovim. Requests may be made before it is ready, they wait; each ends
--- with one call of its callback, also when the server dies, unless it was cancelled.

local compat = require('ingle.compat')
local config = require('ingle.config')
local notify = require('ingle.notify')
local status = require('ingle.status')

local M = {}

--- Version of "What plugins need beyond LSP" in lsp/README.md that this plugin is written for.
M.PROTOCOL = 1
M.VERSION = '0.1.0'

--- Bytes above which a file is not sent: the server would give no suggestions for it.
local LARGEST_FILE = 5e6
--- Lines and bytes of a file that are searched for signs of binary data.
local SEARCHED_LINES, SEARCHED_BYTES = 200, 1e6
--- Milliseconds that the server gets to end by itself.
local STOP_PATIENCE = 3000

---@type integer|nil
local client_id
--- What `initialize` was answered; nil until then.
---@type table|nil
local answer
--- Whether typing may start the server: not again after it failed or died.
local may_start = true
local stopping = false
--- What to do when the server has ended.
---@type function|nil
local after_end
--- Functions that wait for the server.
local waiting = {}
--- Requests that wait for their answer.
local open = {}

local attached = {}

---@return table|nil
local function client()
  return client_id and vim.lsp.get_client_by_id(client_id)
end

--- Whether the server runs and is ready.
function M.is_ready()
  return client() ~= nil and answer ~= nil
end

---@return string encoding of positions
function M.encoding()
  local found = client()
  return found and found.offset_encoding or 'utf-16'
end

--- What the server said of itself: the answer to `initialize`, or nil.
---@return table|nil
function M.answer()
  return answer
end

--- The version for plugins that the server speaks; nil for one that has none.
---@return integer|nil
function M.server_protocol()
  local experimental = answer and answer.capabilities.experimental
  local ingle = type(experimental) == 'table' and experimental.ingle
  return type(ingle) == 'table' and type(ingle.version) == 'number' and ingle.version or nil
end

-- --- buffers -----------------------------------------------------------------------------------

--- Why a buffer can't be sent to the server; nil if it can.
---@param buffer integer
---@return string|nil
function M.objection(buffer)
  if vim.bo[buffer].buftype ~= '' then
    return 'this is no file'
  end
  if vim.api.nvim_buf_get_name(buffer) == '' then
    return 'this buffer has no name yet: save it first'
  end
  local bytes = vim.api.nvim_buf_get_offset(buffer, vim.api.nvim_buf_line_count(buffer))
  if bytes > LARGEST_FILE then
    return ('this file is too large (%.1f MB)'):format(bytes / 1e6)
  end
  if vim.bo[buffer].binary then
    return 'this file is binary'
  end
  local searched = 0
  for _, line in ipairs(vim.api.nvim_buf_get_lines(buffer, 0, SEARCHED_LINES, false)) do
    -- A NUL in a buffer is a line feed within a line.
    if line:find('[%z\n]') then
      return 'this file is binary'
    end
    searched = searched + #line
    if searched > SEARCHED_BYTES then
      break
    end
  end
end

---@param buffer integer
---@return boolean
function M.is_attached(buffer)
  return attached[buffer] == true and client() ~= nil
end

local function watch(buffer)
  attached[buffer] = true
  vim.api.nvim_buf_attach(buffer, false, {
    on_detach = function()
      attached[buffer] = nil
    end,
    on_reload = function() end,
  })
  local builtin = require('ingle.builtin')
  if config.options.ghost_text == 'builtin' and compat.builtin_inline_completion() then
    builtin.attach(buffer, client_id)
  else
    builtin.stand_down(client_id)
    require('ingle.ghost').attach(buffer)
  end
end

--- Tell the server of a buffer. Starts the server if it does not run.
---@param buffer integer
---@return string|nil objection why that is not possible
function M.attach(buffer)
  if M.is_attached(buffer) then
    return
  end
  local objection = M.objection(buffer)
  if objection then
    return objection
  end
  local problem = M.start()
  if problem then
    return problem
  end
  vim.lsp.buf_attach_client(buffer, client_id)
  watch(buffer)
end

--- The same when Neovim has nothing else to do, without a word if it can't be.
---@param buffer integer
function M.attach_soon(buffer)
  if not may_start or M.is_attached(buffer) then
    return
  end
  vim.schedule(function()
    local is_there = vim.api.nvim_buf_is_valid(buffer) and vim.api.nvim_buf_is_loaded(buffer)
    if not is_there or not may_start or M.objection(buffer) then
      return
    end
    local problem = M.attach(buffer)
    if problem then
      may_start = false
      notify.warn(problem)
    end
  end)
end

-- --- the process -------------------------------------------------------------------------------

local function capabilities()
  local ours = vim.lsp.protocol.make_client_capabilities()
  ours.textDocument.inlineCompletion = { dynamicRegistration = false }
  -- Neovim can do it, but does not say so.
  ours.workspace.workspaceEdit.documentChanges = true
  ours.experimental = {
    ingle = {
      version = M.PROTOCOL,
      status = true,
      showMarkdown = true,
      candidates = true,
      startHint = '`:Ingle start`',
    },
  }
  return ours
end

local function check_version()
  local theirs = M.server_protocol()
  if not theirs or theirs < M.PROTOCOL then
    local info = answer.serverInfo or {}
    local name = vim.trim(('%s %s'):format(info.name or 'ingle-lsp', info.version or ''))
    notify.warn(name .. ' is too old: pip install -U ingle')
  end
end

local function is_ready(_, result)
  answer = result
  vim.schedule(function()
    check_version()
    local ready = waiting
    waiting = {}
    for _, callback in ipairs(ready) do
      callback()
    end
  end)
end

local ENDED = 'ingle-lsp has ended: `:Ingle restart` starts it again'

local function has_ended(code, signal, id)
  vim.schedule(function()
    if id ~= client_id then
      return
    end
    client_id, answer = nil, nil
    attached = {}
    waiting = {}
    if not stopping then
      may_start = false
      status.gone('ingle-lsp has ended')
      if not compat.tells_of_exit(code, signal) then
        notify.warn(ENDED)
      end
    end
    stopping = false
    local unanswered = open
    open = {}
    for handle in pairs(unanswered) do
      handle.finish({ message = ENDED, is_told = true })
    end
    if after_end then
      local next_step = after_end
      after_end = nil
      next_step()
    end
  end)
end

local handlers = {
  ['ingle/status'] = function(_, params)
    status.set(params)
  end,
  ['ingle/showMarkdown'] = function(_, params)
    require('ingle.markdown').show(params.title, params.markdown)
  end,
  ['ingle/chat/delta'] = function(_, params)
    require('ingle.chat').delta(params)
  end,
  ['workspace/applyEdit'] = function(_, params)
    return require('ingle.edits').apply(params, M.encoding())
  end,
  ['window/showMessage'] = function(_, params)
    local tell = ({ notify.error, notify.warn })[params.type] or notify.info
    tell(params.message)
    return vim.NIL
  end,
}

--- Start the server if it does not run.
---@return string|nil problem
function M.start()
  if client() then
    return
  end
  local cmd = config.options.cmd
  if vim.fn.executable(cmd[1]) == 0 then
    return cmd[1] .. ' was not found: `pip install ingle`'
  end
  local id, problem = compat.start_client({
    name = 'ingle',
    cmd = cmd,
    init_options = config.server_settings(),
    settings = { ingle = config.server_settings() },
    capabilities = capabilities(),
    handlers = handlers,
    before_init = function(params)
      params.clientInfo = { name = 'ingle.nvim', version = M.VERSION }
    end,
    on_init = is_ready,
    on_exit = has_ended,
  })
  if not id then
    return ('%s did not start: %s'):format(cmd[1], notify.error_text(problem))
  end
  client_id, answer, stopping = id, nil, false
end

--- Stop the server and start it again, with the buffers it knew.
function M.restart()
  local buffers = vim.tbl_keys(attached)
  local function begin()
    may_start = true
    local problem = M.start()
    if problem then
      return notify.warn(problem)
    end
    for _, buffer in ipairs(vim.list_extend(buffers, { vim.api.nvim_get_current_buf() })) do
      M.attach_soon(buffer)
    end
  end
  local running = client()
  if not running then
    return begin()
  end
  stopping = true
  after_end = begin
  compat.stop(running)
  vim.defer_fn(function()
    -- A server that hangs is not asked twice.
    if after_end == begin then
      compat.stop(running, true)
    end
  end, STOP_PATIENCE)
end

--- Tell a running server of changed settings.
function M.settings_changed()
  local running = client()
  if not running then
    return
  end
  local settings = vim.deepcopy(config.server_settings())
  for name in pairs(running.config.settings.ingle) do
    if settings[name] == nil then
      -- What is left out would stay as it was.
      settings[name] = vim.NIL
    end
  end
  running.config.settings = { ingle = settings }
  M.when_ready(function()
    compat.notify(running, 'workspace/didChangeConfiguration', { settings = { ingle = settings } })
  end)
end

--- Call a function as soon as the server is ready, maybe at once.
---@param callback function
function M.when_ready(callback)
  if M.is_ready() then
    callback()
  else
    table.insert(waiting, callback)
  end
end

-- --- requests ----------------------------------------------------------------------------------

--- Ask the server. `callback(err, result)` is called once, unless the request is cancelled; `err`
--- is a table with a `message` for the user.
---@param method string
---@param params table|function a function is called when the server is ready: its encoding is known
---@param callback function
---@param buffer integer|nil
---@return table handle with `cancel()`
function M.request(method, params, callback, buffer)
  local handle = { is_over = false }

  function handle.finish(err, result)
    if not handle.is_over then
      handle.is_over = true
      open[handle] = nil
      callback(err, result)
    end
  end

  function handle.cancel()
    if handle.is_over then
      return
    end
    handle.is_over = true
    open[handle] = nil
    local running = client()
    if running and handle.id then
      compat.cancel(running, handle.id)
    end
  end

  local problem = M.start()
  if problem then
    vim.schedule(function()
      handle.finish({ message = problem })
    end)
    return handle
  end
  open[handle] = true
  M.when_ready(function()
    local running = client()
    if handle.is_over or not running then
      return
    end
    local given = type(params) == 'function' and params() or params
    local sent, id = compat.request(running, method, given, handle.finish, buffer)
    if sent then
      handle.id = id
    else
      handle.finish({ message = 'ingle-lsp does not answer: `:Ingle restart` starts it again' })
    end
  end)
  return handle
end

--- Run one of the server's commands.
---@param name string
---@param argument table|function|nil
---@param callback function as of `request`
---@param buffer integer|nil
---@return table handle
function M.command(name, argument, callback, buffer)
  return M.request('workspace/executeCommand', function()
    local given = argument
    if type(argument) == 'function' then
      given = argument()
    end
    return { command = name, arguments = given and { given } or nil }
  end, callback, buffer)
end

--- The version of a buffer's text that the server has after the next request.
---@param buffer integer
---@return integer|nil
function M.version(buffer)
  return vim.lsp.util.buf_versions[buffer]
end

return M

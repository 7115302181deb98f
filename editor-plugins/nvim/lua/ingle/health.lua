--- `:checkhealth ingle`: the way from Neovim to the model, step by step, and what to do where it
--- ends.

local client = require('ingle.client')
local compat = require('ingle.compat')
local config = require('ingle.config')
local notify = require('ingle.notify')

local M = {}

--- Milliseconds that the server and the daemon get to answer.
local PATIENCE = 5000

local function check_neovim(health)
  local version = vim.version()
  local text = ('Neovim %d.%d.%d'):format(version.major, version.minor, version.patch)
  if vim.fn.has('nvim-0.7') == 0 then
    return health.error(text .. ' is too old: ingle needs 0.7')
  end
  health.ok(text)
  if config.options.ghost_text == 'builtin' and not compat.builtin_inline_completion() then
    health.warn("ghost_text = 'builtin' needs Neovim 0.12: ingle draws by itself")
  end
  local taken = {}
  for name, key in pairs(config.options.keys) do
    local mapping = key and vim.fn.maparg(key, 'i', false, true) or {}
    local is_other = mapping.lhs and not vim.startswith(mapping.desc or '', 'ingle: ')
    if is_other and name ~= 'accept' and not config.chosen_keys[name] then
      table.insert(taken, ('%s (%s)'):format(key, name))
    end
  end
  if #taken > 0 then
    table.sort(taken)
    health.warn('keys that you use otherwise, so ingle does not: ' .. table.concat(taken, ', '))
  end
end

---@return boolean
local function check_program(health)
  local cmd = config.options.cmd
  if vim.fn.executable(cmd[1]) == 0 then
    health.error(('%s was not found'):format(cmd[1]), {
      'install it: pip install ingle',
      "or say where it is: require('ingle').setup { cmd = { '/path/to/ingle-lsp' } }",
    })
    return false
  end
  local said = vim.fn.system(vim.list_extend(vim.deepcopy(cmd), { '--version' }))
  if vim.v.shell_error ~= 0 then
    health.error(('%s --version failed: %s'):format(cmd[1], vim.trim(said)))
    return false
  end
  health.ok(('%s: %s'):format(vim.fn.exepath(cmd[1]), vim.trim(said)))
  return true
end

---@return boolean
local function check_server(health)
  local problem = client.start()
  if problem then
    health.error(problem)
    return false
  end
  if not vim.wait(PATIENCE, client.is_ready, 10) then
    health.error('the language server does not answer: see :messages and :LspLog')
    return false
  end
  local theirs = client.server_protocol()
  if not theirs then
    health.error(
      'the language server is too old for chat, changes and status',
      { 'pip install -U ingle' }
    )
    return false
  elseif theirs < client.PROTOCOL then
    health.warn(
      ('the language server speaks version %d of the plugins’ messages, this plugin %d'):format(
        theirs,
        client.PROTOCOL
      ),
      { 'pip install -U ingle' }
    )
  else
    health.ok(('the language server runs, and speaks version %d of the messages'):format(theirs))
  end
  return true
end

local function ask_status()
  local answer
  client.command('ingle.status', nil, function(err, result)
    answer = { err = err, result = result }
  end)
  vim.wait(PATIENCE, function()
    return answer ~= nil
  end, 10)
  return answer or { err = 'ingle-lsp does not answer' }
end

local function check_daemon(health)
  local answer = ask_status()
  local status = answer.result
  if answer.err then
    return health.error(notify.error_text(answer.err))
  end
  local detail = status.detail and status.detail ~= '' and ': ' .. status.detail or ''
  if status.state == 'down' then
    return health.error(status.text .. detail, { 'start it: :Ingle start' })
  elseif status.state == 'incompatible' then
    return health.error(status.text .. detail)
  end
  health.ok('the daemon runs')
  if status.state == 'failed' then
    return health.error(status.text .. detail, { 'ingle doctor' })
  elseif status.state == 'idle' then
    health.warn('no model is loaded; the next request loads one', { 'choose one: :Ingle models' })
  else
    local device = status.device and status.device ~= '' and ' on ' .. status.device or ''
    health.ok(status.text .. device)
  end
  if not status.enabled then
    health.info('suggestions are off or paused: :Ingle resume')
  end
end

function M.check()
  local health = compat.health()
  health.start('ingle: Neovim')
  check_neovim(health)
  health.start('ingle: language server')
  if check_program(health) and check_server(health) then
    health.start('ingle: daemon and model')
    check_daemon(health)
  end
  if #notify.recent > 0 then
    health.start('ingle: latest messages')
    for _, message in ipairs(notify.recent) do
      health.info(message)
    end
  end
end

return M

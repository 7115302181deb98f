--- The daemon, its models, effort and pauses: what a status line's menu does.

local client = require('ingle.client')
local config = require('ingle.config')
local notify = require('ingle.notify')
local status = require('ingle.status')
local tasks = require('ingle.tasks')

local M = {}

M.EFFORTS = { 'low', 'medium', 'high' }

--- Names of models, as the daemon last gave them.
---@type string[]
M.model_names = {}

function M.start()
  tasks.run('starting the daemon', 'ingle.startDaemon', nil, function()
    notify.progress('the daemon runs')
  end)
end

---@param name string
function M.load(name)
  tasks.run('loading ' .. name, 'ingle.loadModel', { model = name }, function()
    notify.progress(name .. ' is loaded')
  end)
end

---@param name string|nil all if nil
function M.unload(name)
  local argument = name and { model = name } or nil
  tasks.run('unloading ' .. (name or 'the model'), 'ingle.unloadModel', argument, function()
    notify.progress((name or 'the model') .. ' is unloaded')
  end)
end

local function rank(model)
  return model.resident and 1 or model.installed and 2 or 3
end

--- What can be used comes first.
local function ordered(models)
  local places = {}
  for place, model in ipairs(models) do
    places[model] = place
  end
  table.sort(models, function(one, other)
    if rank(one) == rank(other) then
      return places[one] < places[other]
    end
    return rank(one) < rank(other)
  end)
  return models
end

--- Ask for the models; `use(err, models)` gets them.
local function with_models(use)
  client.command('ingle.models', nil, function(err, found)
    if err then
      return use(err)
    end
    local models = ordered(found)
    M.model_names = vim.tbl_map(function(model)
      return model.name
    end, models)
    use(nil, models)
  end)
end

local function described(model)
  local state = model.resident and 'loaded' or model.installed and 'installed' or 'not installed'
  return ('%s: %s'):format(model.name, state)
end

--- Choose a model to load or to unload.
function M.models()
  with_models(function(err, models)
    if err then
      return notify.failure(err)
    elseif #models == 0 then
      return notify.info('there are no models: `ingle pull` downloads one')
    end
    vim.ui.select(models, {
      prompt = 'Load or unload a model',
      format_item = described,
    }, function(model)
      if not model then
        return
      elseif model.resident then
        M.unload(model.name)
      elseif model.installed then
        M.load(model.name)
      else
        notify.info(('`ingle pull %s` installs it'):format(model.name))
      end
    end)
  end)
end

--- Fetch the models' names for the next completion of a command line.
function M.refresh_model_names()
  if client.is_ready() then
    with_models(function() end)
  end
end

--- How long the model thinks, in chats and changes.
---@param effort string|nil asked for if nil
function M.effort(effort)
  if effort then
    config.options.settings.effort = effort
    client.settings_changed()
    require('ingle.chat').effort_changed()
    return notify.progress('effort is ' .. effort)
  end
  vim.ui.select(M.EFFORTS, { prompt = 'How long the model thinks' }, function(choice)
    if choice then
      M.effort(choice)
    end
  end)
end

---@param minutes number|nil until `resume` if nil
function M.pause(minutes)
  local argument = minutes and { minutes = minutes } or nil
  client.command('ingle.pause', argument, function(err)
    if err then
      return notify.failure(err)
    end
    require('ingle.ghost').dismiss()
    local time = minutes and ('for %g minutes'):format(minutes) or 'until `:Ingle resume`'
    notify.info('no suggestions ' .. time)
  end)
end

function M.resume()
  client.command('ingle.resume', nil, function(err)
    if err then
      notify.failure(err)
    else
      notify.info('suggestions are on again')
    end
  end)
end

function M.status()
  client.command('ingle.status', nil, function(err, result)
    if err then
      return notify.failure(err)
    end
    local detail = result.detail
    notify.info(detail and detail ~= '' and result.text .. ': ' .. detail or result.text)
  end)
end

function M.restart()
  client.restart()
end

--- Cancel the chat's answer and whatever else is running.
function M.cancel()
  local count = tasks.cancel_all()
  local chat = package.loaded['ingle.chat']
  if chat and chat.cancel() then
    count = count + 1
  end
  notify.progress(count > 0 and 'cancelled' or 'nothing is running')
end

--- Everything that makes sense now.
function M.menu()
  local now = status.current or {}
  local entries = {}
  local function add(text, run)
    table.insert(entries, { text = text, run = run })
  end
  if now.state == 'down' then
    add('Start the daemon', M.start)
  elseif now.state == 'gone' then
    add('Restart the language server', M.restart)
  else
    add('Load or unload a model', M.models)
  end
  if now.enabled == false and now.state ~= 'gone' then
    add('Resume suggestions', M.resume)
  else
    add('Pause suggestions for 30 minutes', function()
      M.pause(30)
    end)
  end
  add('Set how long the model thinks', M.effort)
  add('Chat', function()
    require('ingle.chat').open()
  end)
  add('Open a chat thread', function()
    require('ingle.chat').choose_thread()
  end)
  vim.ui.select(entries, {
    prompt = now.text and 'ingle: ' .. now.text or 'ingle',
    format_item = function(entry)
      return entry.text
    end,
  }, function(entry)
    if entry then
      entry.run()
    end
  end)
end

return M

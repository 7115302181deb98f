--- `:Ingle SUBCOMMAND`: the table of subcommands, and their completion.

local control = require('ingle.control')
local notify = require('ingle.notify')

local M = {}

local function chat()
  return require('ingle.chat')
end

local function actions()
  return require('ingle.actions')
end

local function selection(given)
  if given.range > 0 then
    local buffer = vim.api.nvim_get_current_buf()
    return require('ingle.positions').of_command(buffer, given.line1, given.line2)
  end
end

local function models()
  control.refresh_model_names()
  return control.model_names
end

--- `run(given, rest)` gets what Neovim gives a command, and the words after the subcommand.
M.subcommands = {
  accept = {
    text = 'insert the ghost text',
    run = function()
      require('ingle').accept()
    end,
  },
  analysis = {
    text = 'show or hide what the model thinks in the chat',
    run = function()
      chat().toggle_analysis()
    end,
  },
  cancel = { text = 'cancel what is running', run = control.cancel },
  chat = {
    text = 'open the chat, about the selection, and ask the question that follows',
    run = function(given, rest)
      local buffer, span = vim.api.nvim_get_current_buf(), selection(given)
      if span and not chat().add_context(buffer, span) then
        return
      end
      chat().open()
      if rest ~= '' then
        chat().ask(rest)
      end
    end,
  },
  commit = {
    text = 'write a commit message',
    run = function()
      actions().commit()
    end,
  },
  context = {
    text = 'add the file or the selection to the next question; `clear` takes all away',
    complete = function()
      return { 'clear' }
    end,
    run = function(given, rest)
      if rest == 'clear' then
        chat().clear_context()
      elseif chat().add_context(vim.api.nvim_get_current_buf(), selection(given)) then
        notify.progress('goes with the next question')
      end
    end,
  },
  delete = {
    text = 'delete the chat thread that is open; with `!` without asking',
    run = function(given)
      chat().delete(given.bang)
    end,
  },
  document = {
    text = 'document the function, class or selection',
    run = function(given)
      actions().document(given)
    end,
  },
  effort = {
    text = 'set how long the model thinks',
    complete = function()
      return control.EFFORTS
    end,
    run = function(_, rest)
      if rest ~= '' and not vim.tbl_contains(control.EFFORTS, rest) then
        return notify.warn('effort is low, medium or high')
      end
      control.effort(rest ~= '' and rest or nil)
    end,
  },
  explain = {
    text = 'explain the function, class or selection',
    run = function(given)
      actions().explain(given)
    end,
  },
  fix = {
    text = 'fix the diagnostics of the line or selection',
    run = function(given)
      actions().fix(given)
    end,
  },
  health = {
    text = 'check what is missing',
    run = function()
      vim.cmd('checkhealth ingle')
    end,
  },
  load = {
    text = 'load a model',
    complete = models,
    run = function(_, rest)
      if rest == '' then
        control.models()
      else
        control.load(rest)
      end
    end,
  },
  menu = { text = 'choose from what makes sense now', run = control.menu },
  models = { text = 'choose a model to load or to unload', run = control.models },
  new = {
    text = 'begin another chat thread',
    run = function()
      chat().new()
    end,
  },
  pause = {
    text = 'no suggestions for some minutes, or until `:Ingle resume`',
    run = function(_, rest)
      local minutes = tonumber(rest)
      if rest ~= '' and not minutes then
        return notify.warn('how many minutes? like `:Ingle pause 30`')
      end
      control.pause(minutes)
    end,
  },
  refactor = {
    text = 'refactor the function, class or selection by the instruction that follows',
    run = function(given, rest)
      actions().refactor(given, rest)
    end,
  },
  restart = { text = 'restart the language server', run = control.restart },
  resume = { text = 'suggestions again', run = control.resume },
  start = { text = 'start the daemon', run = control.start },
  status = { text = 'say what the daemon does', run = control.status },
  suggest = {
    text = 'ask for suggestions at the cursor',
    run = function()
      require('ingle').suggest()
    end,
  },
  tests = {
    text = 'write tests of the function, class or selection',
    run = function(given)
      actions().tests(given)
    end,
  },
  threads = {
    text = 'open a chat thread',
    complete = function()
      chat().refresh_thread_names()
      return chat().thread_names
    end,
    run = function(_, rest)
      if rest ~= '' then
        chat().open_thread(rest)
      else
        chat().choose_thread()
      end
    end,
  },
  unload = {
    text = 'unload a model, or all',
    complete = models,
    run = function(_, rest)
      control.unload(rest ~= '' and rest or nil)
    end,
  },
}

--- Run `:Ingle …`.
---@param given table as a user command gets it
function M.run(given)
  local name, rest = given.args:match('^(%S*)%s*(.-)%s*$')
  if name == '' then
    return control.menu()
  end
  local subcommand = M.subcommands[name]
  if not subcommand then
    return notify.warn(('there is no `:Ingle %s`: see :help :Ingle'):format(name))
  end
  subcommand.run(given, rest)
end

--- Completion of the command line.
---@param lead string the word so far
---@param line string the command so far
---@return string[]
function M.complete(lead, line)
  local before = line:match('Ingle!?%s+(.*)$') or ''
  local name = before:match('^(%S+)%s')
  local words
  if not name then
    words = vim.tbl_keys(M.subcommands)
    table.sort(words)
  else
    local subcommand = M.subcommands[name]
    words = subcommand and subcommand.complete and subcommand.complete() or {}
  end
  return vim.tbl_filter(function(word)
    return vim.startswith(word, lead)
  end, words)
end

return M

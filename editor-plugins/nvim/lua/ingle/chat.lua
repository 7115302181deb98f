--- The chat: the thread that is open, its turns, and the question that is being answered.
---
--- Owns the state and the requests; `chat_buffer` shows it. Threads are kept by the server, so a
--- turn here is what the server would give for it: `role`, `text`, `analysis`, `finish`, `blocks`.

local chat_context = require('ingle.chat_context')
local client = require('ingle.client')
local config = require('ingle.config')
local notify = require('ingle.notify')
local positions = require('ingle.positions')

local M = {}

--- The open thread. `id` is nil until the server has named it.
local thread = { turns = {} }
--- The question on its way: `handle`, `token`, the `turn` that the answer goes into, and what was
--- taken as its `context`.
---@type table|nil
local pending
--- The file that was edited before the chat was looked at.
---@type integer|nil
local source
local show_analysis
local asked = 0

local function view()
  return require('ingle.chat_buffer')
end

-- --- what the view shows -----------------------------------------------------------------------

---@return table thread with `id`, `title`, `turns`
function M.thread()
  return thread
end

---@return boolean
function M.is_answering()
  return pending ~= nil
end

---@return boolean
function M.shows_analysis()
  if show_analysis == nil then
    show_analysis = config.options.show_analysis
  end
  return show_analysis
end

--- How long the model is asked to think; nil where the daemon decides.
---@return string|nil
function M.effort()
  return config.options.settings.effort
end

--- Remember the file that a chat is about.
---@param buffer integer
function M.remember_source(buffer)
  if vim.bo[buffer].buftype == '' then
    source = buffer
  end
end

--- Add a buffer or a part of it to the next question.
---@param buffer integer
---@param span integer[]|nil the whole buffer if nil
---@return boolean
function M.add_context(buffer, span)
  if not chat_context.add(buffer, span) then
    return false
  end
  M.remember_source(buffer)
  view().notes_changed()
  return true
end

function M.clear_context()
  chat_context.clear()
  view().notes_changed()
end

-- --- asking ------------------------------------------------------------------------------------

--- Whether anything came of the last question.
local function has_answer(turn)
  return turn.text ~= '' or turn.analysis ~= ''
end

--- The answer broke off: what was said stays. A question without a word of an answer may be asked
--- again, as it was; the server does not keep it either.
local function broken_off(question_on_its_way, finish)
  local turn = question_on_its_way.turn
  turn.finish = finish
  if has_answer(turn) then
    chat_context.release(question_on_its_way.context)
    return view().render()
  end
  chat_context.give_back(question_on_its_way.context)
  local question = table.remove(thread.turns, #thread.turns - 1)
  table.remove(thread.turns)
  view().render(question.text)
end

local function answered(mine, err, result)
  pending = nil
  if err then
    notify.failure(err)
    return broken_off(mine, 'error')
  end
  chat_context.release(mine.context)
  local turn = mine.turn
  thread.id, thread.title = result.thread, result.title
  turn.index, turn.text, turn.finish = result.turn, result.text, result.finish
  turn.blocks, turn.model = result.blocks or {}, result.model
  turn.tokens, turn.speed = result.tokens, result.tokensPerSecond
  view().render()
  if result.note and result.note ~= '' then
    notify.warn(result.note)
  end
end

--- Ask a question in the open thread.
---@param text string
---@return boolean whether it was sent
function M.ask(text)
  text = vim.trim(text)
  if text == '' then
    notify.info('there is no question yet')
    return false
  elseif pending then
    notify.info('the answer before is not complete: `:Ingle cancel` stops it')
    return false
  end
  asked = asked + 1
  local token = ('nvim-%d-%d'):format(vim.fn.getpid(), asked)
  local question = { role = 'user', text = text, context = {} }
  local turn = { role = 'assistant', text = '', analysis = '', blocks = {} }
  vim.list_extend(thread.turns, { question, turn })
  pending = { token = token, turn = turn, context = chat_context.take() }
  local mine = pending
  local function params()
    question.context = chat_context.as_sent(mine.context)
    return {
      thread = thread.id or vim.NIL,
      token = token,
      text = text,
      effort = M.effort(),
      newThread = false,
      context = question.context,
    }
  end
  view().render('')
  mine.handle = client.request('ingle/chat', params, function(err, result)
    if pending == mine then
      answered(mine, err, result)
    end
  end)
  return true
end

--- A piece of the answer has come.
---@param params table of `ingle/chat/delta`
function M.delta(params)
  if not pending or params.token ~= pending.token then
    return
  end
  thread.id = thread.id or params.thread
  local turn = pending.turn
  if params.channel == 'analysis' then
    turn.analysis = turn.analysis .. params.text
  else
    turn.text = turn.text .. params.text
  end
  view().append(turn, params.channel, params.text)
end

--- Stop the answer; what was said stays.
---@return boolean whether there was one
function M.cancel()
  if not pending then
    return false
  end
  local mine = pending
  pending = nil
  mine.handle.cancel()
  broken_off(mine, 'cancelled')
  return true
end

-- --- threads -----------------------------------------------------------------------------------

--- Show the chat and put the cursor where the next question goes.
function M.open()
  M.remember_source(vim.api.nvim_get_current_buf())
  view().open()
end

--- Begin another thread.
function M.new()
  M.cancel()
  thread = { turns = {} }
  M.open()
  view().render('')
end

--- Open a thread by its name.
---@param id string
function M.open_thread(id)
  client.request('ingle/chat/thread', { thread = id }, function(err, result)
    if err then
      return notify.failure(err)
    end
    M.cancel()
    thread = { id = result.thread, title = result.title, turns = {} }
    for number, turn in ipairs(result.turns) do
      turn.index = number - 1
      turn.analysis = turn.analysis or ''
      thread.turns[number] = turn
    end
    M.open()
    view().render('')
  end)
end

--- Ask for the threads; `use(err, threads)` gets them, newest first.
local function with_threads(use)
  client.request('ingle/chat/threads', vim.empty_dict(), function(err, threads)
    M.thread_names = vim.tbl_map(function(item)
      return item.thread
    end, threads or {})
    use(err, threads)
  end)
end

--- Names of threads, as the server last gave them.
---@type string[]
M.thread_names = {}

--- Fetch them for the next completion of a command line.
function M.refresh_thread_names()
  if client.is_ready() then
    with_threads(function() end)
  end
end

--- Let the user choose a thread.
function M.choose_thread()
  with_threads(function(err, threads)
    if err then
      return notify.failure(err)
    elseif #threads == 0 then
      return notify.info('there are no threads yet: `:Ingle chat` begins one')
    end
    vim.ui.select(threads, {
      prompt = 'Open a thread',
      format_item = function(item)
        local day = (item.updated or ''):sub(1, 16):gsub('T', ' ')
        return ('%s (%d turns, %s)'):format(item.title, item.turns, day)
      end,
    }, function(item)
      if item then
        M.open_thread(item.thread)
      end
    end)
  end)
end

--- Delete the open thread.
---@param is_sure boolean
function M.delete(is_sure)
  if not thread.id then
    return notify.info('no thread is open')
  end
  local name = thread.title or thread.id
  if not is_sure and vim.fn.confirm(('Delete “%s”?'):format(name), '&Yes\n&No', 2) ~= 1 then
    return
  end
  M.cancel()
  client.request('ingle/chat/delete', { thread = thread.id }, function(err)
    if err then
      return notify.failure(err)
    end
    thread = { turns = {} }
    view().render('')
    notify.progress(('“%s” is deleted'):format(name))
  end)
end

function M.toggle_analysis()
  show_analysis = not M.shows_analysis()
  view().render()
  notify.progress(show_analysis and 'the analysis is shown' or 'the analysis is hidden')
end

function M.effort_changed()
  view().notes_changed()
end

-- --- applying ----------------------------------------------------------------------------------

--- Apply a block of an answer to the file that the chat is about.
---@param turn table
---@param block table
function M.apply(turn, block)
  local buffer = source
  if not buffer or not vim.api.nvim_buf_is_loaded(buffer) then
    return notify.warn('no file to apply it to: look at one before the chat')
  end
  local objection = client.attach(buffer)
  if not objection and (not vim.bo[buffer].modifiable or vim.bo[buffer].readonly) then
    objection = chat_context.name_of(buffer) .. ' is read-only'
  end
  if objection then
    return notify.warn(objection)
  end
  local window = vim.fn.win_findbuf(buffer)[1]
  local span = { 0, 0, 0, 0 }
  if window then
    span = positions.at_cursor(window)
  end
  client.request('ingle/chat/apply', function()
    return {
      thread = thread.id,
      turn = turn.index,
      block = block.index,
      uri = vim.uri_from_bufnr(buffer),
      version = client.version(buffer),
      range = positions.range(buffer, span, client.encoding()),
    }
  end, function(err, result)
    if err then
      notify.failure(err)
    elseif not result.applied then
      notify.warn(result.message ~= '' and result.message or 'nothing was changed')
    else
      notify.progress(('applied to %s'):format(chat_context.name_of(buffer)))
    end
  end, buffer)
end

return M

--- The chat's buffer: the thread as Markdown, and below it the place for the next question.
---
--- Owns the buffer, its keys and what is drawn in it; the state is `chat`'s. While an answer comes
--- the buffer can't be changed, and the answer is appended to; otherwise the part below the last
--- heading is the user's.

local chat = require('ingle.chat')
local chat_context = require('ingle.chat_context')
local notify = require('ingle.notify')

local M = {}

local NAME = 'ingle://chat'
local QUESTION, ANSWER = '## You', '## ingle'

---@type integer|nil
local buffer
local notes = vim.api.nvim_create_namespace('ingle.chat')
local places = vim.api.nvim_create_namespace('ingle.chat.places')
--- Extmark of the heading above the next question; nil while an answer comes.
---@type integer|nil
local prompt
--- Extmarks of the turns' headings, in order.
local headings = {}
--- Which channel was appended to last.
local last_channel

local KEYS = {
  { 'n', '<CR>', 'send the question' },
  { 'i', '<C-s>', 'send the question' },
  { 'n', '<C-c>', 'stop the answer' },
  { 'n', 'g<CR>', 'apply the code block under the cursor' },
  { 'n', 'ga', 'show or hide what the model thinks' },
  { 'n', 'g?', 'show these keys' },
}

local function is_there()
  return buffer ~= nil and vim.api.nvim_buf_is_valid(buffer)
end

local function row_of(mark)
  return mark and vim.api.nvim_buf_get_extmark_by_id(buffer, places, mark, {})[1]
end

--- Change the buffer, whether its user may or not, and without a step of undo.
local function write(change)
  local was_modifiable = vim.bo[buffer].modifiable
  local levels = vim.bo[buffer].undolevels
  vim.bo[buffer].modifiable = true
  vim.bo[buffer].undolevels = -1
  change()
  vim.bo[buffer].undolevels = levels
  vim.bo[buffer].modifiable = was_modifiable
  vim.bo[buffer].modified = false
end

--- Keep windows at the end that are at the end.
local function following(change)
  local last = vim.api.nvim_buf_line_count(buffer)
  local followers = vim.tbl_filter(function(window)
    return vim.api.nvim_win_get_cursor(window)[1] >= last
  end, vim.fn.win_findbuf(buffer))
  change()
  last = vim.api.nvim_buf_line_count(buffer)
  for _, window in ipairs(followers) do
    vim.api.nvim_win_set_cursor(window, { last, 0 })
  end
end

-- --- drawing -----------------------------------------------------------------------------------

local function quoted(text)
  return vim.tbl_map(function(line)
    return '> ' .. line
  end, vim.split(text, '\n', { plain = true }))
end

local function lines_of(turn)
  local lines = { turn.role == 'user' and QUESTION or ANSWER, '' }
  if turn.role == 'user' then
    for _, label in ipairs(chat_context.labels_of(turn.context or {})) do
      table.insert(lines, ('> %s'):format(label))
    end
    if #lines > 2 then
      table.insert(lines, '')
    end
  elseif chat.shows_analysis() and turn.analysis ~= '' then
    vim.list_extend(lines, quoted(turn.analysis))
    if turn.text ~= '' then
      table.insert(lines, '')
    end
  end
  if turn.text ~= '' then
    vim.list_extend(lines, vim.split(turn.text, '\n', { plain = true }))
  end
  return lines
end

local FINISHES = {
  cancelled = 'stopped',
  length = 'cut: it became too long',
  error = 'broken off',
}

--- What is said beside an answer's heading.
local function note_of(turn)
  local parts = {}
  if not turn.finish and chat.is_answering() then
    local words = select(2, turn.analysis:gsub('%S+', ''))
    if turn.text == '' then
      table.insert(parts, words > 0 and ('thinking, %d words'):format(words) or 'waiting')
    end
    table.insert(parts, '<C-c> stops it')
  else
    table.insert(parts, turn.model)
    if turn.speed and turn.tokens then
      table.insert(parts, ('%d tokens, %.0f tokens/s'):format(turn.tokens, turn.speed))
    end
    table.insert(parts, FINISHES[turn.finish])
  end
  return table.concat(parts, ' · ')
end

local function put_note(row, text)
  vim.api.nvim_buf_clear_namespace(buffer, notes, row, row + 1)
  if text ~= '' then
    vim.api.nvim_buf_set_extmark(buffer, notes, row, 0, {
      virt_text = { { ' ' .. text, 'Comment' } },
      virt_text_pos = 'eol',
    })
  end
end

local function put_notes()
  for number, turn in ipairs(chat.thread().turns) do
    local row = row_of(headings[number])
    if row and turn.role == 'assistant' then
      put_note(row, note_of(turn))
    end
  end
  local row = row_of(prompt)
  if row then
    local parts = chat_context.labels()
    table.insert(parts, chat.effort() and 'effort ' .. chat.effort())
    table.insert(parts, '<CR> sends, g? shows the keys')
    put_note(row, table.concat(parts, ' · '))
  end
end

local function mark(row)
  return vim.api.nvim_buf_set_extmark(buffer, places, row, 0, {})
end

--- The next question as far as it is written.
local function question()
  local row = row_of(prompt)
  if not row then
    return ''
  end
  return table.concat(vim.api.nvim_buf_get_lines(buffer, row + 1, -1, false), '\n')
end

--- Draw everything again.
---@param text string|nil the question to put in its place; what stands there if nil
function M.render(text)
  if not is_there() then
    return
  end
  text = vim.trim(text or question())
  local thread = chat.thread()
  local lines = { '# ' .. (thread.title or 'New chat'):gsub('\n', ' '), '' }
  local starts = {}
  for number, turn in ipairs(thread.turns) do
    starts[number] = #lines
    vim.list_extend(lines, lines_of(turn))
    if number < #thread.turns or not chat.is_answering() then
      table.insert(lines, '')
    end
  end
  local prompt_row
  if not chat.is_answering() then
    prompt_row = #lines
    vim.list_extend(lines, { QUESTION, '' })
    vim.list_extend(lines, vim.split(text, '\n', { plain = true }))
  end
  following(function()
    write(function()
      vim.api.nvim_buf_clear_namespace(buffer, notes, 0, -1)
      vim.api.nvim_buf_clear_namespace(buffer, places, 0, -1)
      vim.api.nvim_buf_set_lines(buffer, 0, -1, false, lines)
    end)
    headings = vim.tbl_map(mark, starts)
    prompt = prompt_row and mark(prompt_row)
    last_channel = nil
    put_notes()
  end)
  vim.bo[buffer].modifiable = not chat.is_answering()
end

--- Append a piece of the answer that is coming.
---@param turn table
---@param channel 'analysis'|'final'
---@param text string
function M.append(turn, channel, text)
  if not is_there() then
    return
  end
  if channel == 'final' or chat.shows_analysis() then
    if not last_channel then
      -- The first piece since all was drawn: what came before may not be there yet.
      M.render()
      last_channel = channel
      return
    end
    local added = text
    if channel == 'analysis' then
      added = text:gsub('\n', '\n> ')
    elseif last_channel == 'analysis' then
      added = '\n\n' .. text
    end
    following(function()
      write(function()
        local last = vim.api.nvim_buf_line_count(buffer) - 1
        local line = vim.api.nvim_buf_get_lines(buffer, last, last + 1, false)[1]
        local pieces = vim.split(added, '\n', { plain = true })
        vim.api.nvim_buf_set_text(buffer, last, #line, last, #line, pieces)
      end)
    end)
    last_channel = channel
  end
  local row = row_of(headings[#headings])
  if row then
    put_note(row, note_of(turn))
  end
end

--- What goes with the next question, or the effort, has changed.
function M.notes_changed()
  if is_there() then
    put_notes()
  end
end

-- --- code blocks -------------------------------------------------------------------------------

--- The turn that a row is in.
local function turn_at(row)
  local found
  for number, turn in ipairs(chat.thread().turns) do
    local start = row_of(headings[number])
    if start and start <= row then
      found = turn
    end
  end
  local prompt_row = row_of(prompt)
  return not (prompt_row and row >= prompt_row) and found or nil
end

--- The lines of the fenced block around a row, without its fences; nil outside of one.
local function fenced_text(row)
  local fence, start
  for number, line in ipairs(vim.api.nvim_buf_get_lines(buffer, 0, -1, false)) do
    local found = line:match('^%s*(```+)') or line:match('^%s*(~~~+)')
    if not fence and found then
      fence, start = found, number
    elseif
      fence
      and found
      and found:sub(1, 1) == fence:sub(1, 1)
      and #found >= #fence
      and line:match('^%s*[`~]+%s*$')
    then
      if start - 1 <= row and row <= number - 1 then
        return vim.api.nvim_buf_get_lines(buffer, start, number - 1, false)
      end
      fence = nil
    end
  end
end

local function same_text(lines, block)
  local function stripped(text)
    return vim.trim((text:gsub('[ \t]*\n[ \t]*', '\n')))
  end
  return stripped(table.concat(lines, '\n')) == stripped(block.text)
end

local function apply_block()
  local row = vim.api.nvim_win_get_cursor(0)[1] - 1
  local turn = turn_at(row)
  local lines = fenced_text(row)
  for _, block in ipairs(lines and turn and turn.blocks or {}) do
    if same_text(lines, block) then
      return chat.apply(turn, block)
    end
  end
  notify.warn('there is no code block of an answer under the cursor')
end

-- --- the buffer and its window -----------------------------------------------------------------

local function send()
  local row = row_of(prompt)
  if not row and chat.is_answering() then
    return notify.info('the answer is not complete: <C-c> stops it')
  end
  local cursor = vim.api.nvim_win_get_cursor(0)
  if vim.api.nvim_get_mode().mode == 'n' and row and cursor[1] - 1 < row then
    -- Above, there is nothing to send.
    return vim.api.nvim_win_set_cursor(0, { vim.api.nvim_buf_line_count(buffer), 0 })
  end
  local text = question()
  if chat.ask(text) then
    vim.cmd('stopinsert')
  end
end

local function show_keys()
  local lines = vim.tbl_map(function(key)
    return ('%-7s %s'):format(key[2], key[3])
  end, KEYS)
  vim.api.nvim_echo({ { table.concat(lines, '\n') } }, false, {})
end

local function map_keys()
  local run = {
    ['<CR>'] = send,
    ['<C-s>'] = send,
    ['<C-c>'] = function()
      if not chat.cancel() then
        notify.info('nothing is running')
      end
    end,
    ['g<CR>'] = apply_block,
    ['ga'] = chat.toggle_analysis,
    ['g?'] = show_keys,
  }
  for _, key in ipairs(KEYS) do
    vim.keymap.set(key[1], key[2], run[key[2]], { buffer = buffer, desc = 'ingle: ' .. key[3] })
  end
end

local function create()
  buffer = vim.api.nvim_create_buf(false, true)
  prompt, headings, last_channel = nil, {}, nil
  vim.api.nvim_buf_set_name(buffer, NAME)
  vim.bo[buffer].bufhidden = 'hide'
  vim.bo[buffer].swapfile = false
  vim.bo[buffer].filetype = 'markdown'
  vim.b[buffer].ingle_chat = true
  map_keys()
  M.render('')
end

--- Show the chat, with the cursor at the place of the next question.
function M.open()
  if not is_there() then
    create()
  end
  local window = require('ingle.windows').open(buffer, true)
  vim.api.nvim_set_current_win(window)
  vim.api.nvim_win_set_cursor(window, { vim.api.nvim_buf_line_count(buffer), 0 })
end

return M

--- Ghost text: when it is asked for, which of it is shown, how it is accepted.
---
--- Owns what is on the screen and the request that is on its way; at most one of each, because only
--- the current buffer in insert mode has any. Drawing is `ghost_text`, keys are `ghost_keys`.
---
--- Typing what is shown sends nothing. Where the suggestion began is an extmark that stays before
--- what is typed, so what was typed of it is simply the text from there to the cursor.

local client = require('ingle.client')
local compat = require('ingle.compat')
local config = require('ingle.config')
local ghost_keys = require('ingle.ghost_keys')
local ghost_text = require('ingle.ghost_text')
local notify = require('ingle.notify')
local positions = require('ingle.positions')

local M = {}

local INVOKED, AUTOMATIC = 1, 2
local INTERRUPT = '\3'

--- The suggestion on the screen: `buffer`; `anchor`, where it begins; `before` and `after`, its
--- line when it came; `texts`, one for each candidate; `index`; `is_complete`: there are no more.
---@type table|nil
local shown
--- The request on its way: `handle`, and the `buffer`, `tick`, `row` and `column` it is for.
---@type table|nil
local pending
--- b:changedtick of the last text that was looked at.
local seen_tick = -1

local anchors = vim.api.nvim_create_namespace('ingle.anchor')

local function line_at(buffer, row)
  return vim.api.nvim_buf_get_lines(buffer, row, row + 1, false)[1] or ''
end

local function in_insert_mode()
  return vim.api.nvim_get_mode().mode:sub(1, 1) == 'i'
end

--- Whether the current buffer may have ghost text at all.
local function is_allowed(buffer)
  return client.is_attached(buffer)
    and vim.b[buffer].ingle_enabled ~= false
    and vim.bo[buffer].modifiable
    and not vim.bo[buffer].readonly
end

--- Whether this is the moment for it.
local function is_wanted(buffer)
  return in_insert_mode()
    and is_allowed(buffer)
    and vim.fn.pumvisible() == 0
    and vim.fn.reg_executing() == ''
    and not vim.o.paste
end

local function cancel()
  if pending then
    pending.handle.cancel()
    pending = nil
  end
end

local function hide()
  if not shown then
    return
  end
  local buffer = shown.buffer
  shown = nil
  vim.on_key(nil, anchors)
  if vim.api.nvim_buf_is_valid(buffer) then
    vim.api.nvim_buf_clear_namespace(buffer, anchors, 0, -1)
    ghost_text.clear(buffer)
    ghost_keys.disarm(buffer)
  end
end

local function forget()
  cancel()
  hide()
end

--- What was typed of the suggestion; nil if the text is another now.
---@return string|nil
local function typed()
  local place = vim.api.nvim_buf_get_extmark_by_id(shown.buffer, anchors, shown.anchor, {})
  local row, column = positions.cursor()
  local first, start = place[1], place[2]
  if not first or row < first or (row == first and column < start) then
    return
  end
  local is_same = line_at(shown.buffer, first):sub(1, start) == shown.before
    and line_at(shown.buffer, row):sub(column + 1) == shown.after
  if not is_same then
    return
  end
  local lines = vim.api.nvim_buf_get_text(shown.buffer, first, start, row, column, {})
  return table.concat(lines, '\n')
end

--- What is left of the candidates that begin with what was typed, and which of them is shown.
---@return string[] rests
---@return integer index
local function rests()
  local so_far = typed()
  local found, index = {}, 1
  if so_far then
    for number, text in ipairs(shown.texts) do
      if #text > #so_far and vim.startswith(text, so_far) then
        table.insert(found, text:sub(#so_far + 1))
        if number == shown.index then
          index = #found
        end
      end
    end
  end
  return found, index
end

--- CTRL-C leaves insert mode without InsertLeave, and in Neovim 0.7 without ModeChanged.
local function watch_interrupts()
  vim.on_key(function(key)
    if key == INTERRUPT then
      vim.schedule(function()
        if not in_insert_mode() then
          hide()
        end
      end)
    end
  end, anchors)
end

--- Draw what is left of the suggestion.
---@return boolean whether anything is
local function refresh()
  if not shown then
    return false
  end
  if shown.buffer ~= vim.api.nvim_get_current_buf() or not is_wanted(shown.buffer) then
    return false
  end
  local found, index = rests()
  if #found == 0 then
    return false
  end
  local row, column = positions.cursor()
  local hint = #found > 1 and ('%d/%d'):format(index, #found) or ''
  ghost_text.draw(shown.buffer, row, column, found[index], hint)
  return true
end

--- Show candidates at the cursor.
local function show(buffer, texts, is_complete, index)
  hide()
  local row, column = positions.cursor()
  local line = line_at(buffer, row)
  shown = {
    buffer = buffer,
    anchor = vim.api.nvim_buf_set_extmark(buffer, anchors, row, column, { right_gravity = false }),
    before = line:sub(1, column),
    after = line:sub(column + 1),
    texts = texts,
    index = index or 1,
    is_complete = is_complete,
  }
  if refresh() then
    ghost_keys.arm(buffer)
    watch_interrupts()
  else
    hide()
  end
end

--- The texts of a response that can be inserted at the cursor.
local function usable_texts(buffer, result)
  local encoding = client.encoding()
  local row, column = positions.cursor()
  local texts, known = {}, {}
  for _, item in ipairs(result and (result.items or result) or {}) do
    local text, range = item.insertText, item.range
    if range and type(text) == 'string' then
      local start = range.start.line == row and positions.column(buffer, range.start, encoding)
      local stop = range['end'].line == row and positions.column(buffer, range['end'], encoding)
      local given = start and start <= column and line_at(buffer, row):sub(start + 1, column)
      -- What stands before the cursor must be how the text begins; what stands after it, stays.
      if given and stop == column and vim.startswith(text, given) then
        text = text:sub(#given + 1)
      else
        text = nil
      end
    end
    if type(text) == 'string' and text ~= '' and not known[text] then
      known[text] = true
      table.insert(texts, text)
    end
  end
  return texts
end

--- Whether text and cursor are still those that a request is for.
local function is_here(of)
  local row, column = positions.cursor()
  return vim.api.nvim_get_current_buf() == of.buffer
    and vim.api.nvim_buf_get_changedtick(of.buffer) == of.tick
    and row == of.row
    and column == of.column
end

--- Ask the server for the text at the cursor; `receive(texts)` gets the answer if it still counts.
local function request(buffer, kind, receive)
  cancel()
  local row, column = positions.cursor()
  local mine = {
    buffer = buffer,
    tick = vim.api.nvim_buf_get_changedtick(buffer),
    row = row,
    column = column,
  }
  pending = mine
  local function params()
    return {
      textDocument = { uri = vim.uri_from_bufnr(buffer) },
      position = positions.position(buffer, row, column, client.encoding()),
      context = { triggerKind = kind },
    }
  end
  mine.handle = client.request('textDocument/inlineCompletion', params, function(err, result)
    if pending ~= mine then
      return
    end
    pending = nil
    if not is_here(mine) or not is_wanted(buffer) then
      return
    end
    if err then
      if kind == INVOKED then
        notify.failure(err)
      end
      return
    end
    receive(usable_texts(buffer, result))
  end, buffer)
end

-- --- what happens in the editor ----------------------------------------------------------------

local function text_changed()
  local buffer = vim.api.nvim_get_current_buf()
  seen_tick = vim.api.nvim_buf_get_changedtick(buffer)
  if refresh() then
    return
  end
  hide()
  if pending and is_here(pending) then
    -- Asked for by a key before this event came.
    return
  end
  if config.options.automatic and is_wanted(buffer) then
    request(buffer, AUTOMATIC, function(texts)
      if #texts > 0 then
        show(buffer, texts, false)
      end
    end)
  else
    cancel()
  end
end

local function cursor_moved()
  local buffer = vim.api.nvim_get_current_buf()
  if vim.api.nvim_buf_get_changedtick(buffer) ~= seen_tick then
    -- The text has changed, too: TextChangedI comes next.
    return
  end
  if shown and not refresh() then
    hide()
  end
  if pending and not is_here(pending) then
    cancel()
  end
end

--- Follow a buffer.
---@param buffer integer
function M.attach(buffer)
  local group = vim.api.nvim_create_augroup('ingle.ghost.' .. buffer, {})
  local function on(events, callback)
    vim.api.nvim_create_autocmd(events, { group = group, buffer = buffer, callback = callback })
  end
  on('InsertEnter', function()
    seen_tick = vim.api.nvim_buf_get_changedtick(buffer)
  end)
  on('TextChangedI', text_changed)
  on('CursorMovedI', cursor_moved)
  on({ 'TextChangedP', 'CompleteChanged', 'InsertLeave', 'BufLeave', 'WinLeave' }, forget)
  ghost_keys.map_suggest(buffer)
end

local group = vim.api.nvim_create_augroup('ingle.ghost', {})
vim.api.nvim_create_autocmd('ModeChanged', {
  group = group,
  -- CTRL-O leaves it for one command, without InsertLeave.
  callback = function()
    if (shown or pending) and not in_insert_mode() then
      forget()
    end
  end,
})
vim.api.nvim_create_autocmd({ 'VimResized', 'ColorScheme' }, {
  group = group,
  callback = function()
    if shown and not refresh() then
      hide()
    end
  end,
})

-- --- what users do -----------------------------------------------------------------------------

--- Whether ghost text is shown that fits what stands there.
---@return boolean
function M.is_shown()
  return refresh()
end

local WORD = [[\v^\_s*%(\k+|%(\k@!\S)+)]]

local function part_of(text, part)
  if part == 'word' then
    local word = vim.fn.matchstr(text, WORD)
    return word ~= '' and word or text
  elseif part == 'line' then
    return text:match('^\n*[^\n]*')
  end
  return text
end

--- Insert the ghost text or a part of it.
---@param part 'all'|'word'|'line'
---@return boolean whether there was any
function M.accept(part)
  if not refresh() then
    hide()
    return false
  end
  local found, index = rests()
  local buffer, text = shown.buffer, part_of(found[index], part)
  local row, column = positions.cursor()
  local lines = vim.split(text, '\n', { plain = true })
  -- One `u` takes back what was accepted, and not what was typed before.
  vim.cmd([[let &l:undolevels = &l:undolevels]])
  vim.api.nvim_buf_set_text(buffer, row, column, row, column, lines)
  local last = #lines == 1 and column + #text or #lines[#lines]
  vim.api.nvim_win_set_cursor(0, { row + #lines, last })
  if not refresh() then
    hide()
  end
  return true
end

--- Take the ghost text away until the next edit.
---@return boolean whether there was any
function M.dismiss()
  local was_shown = shown ~= nil
  forget()
  return was_shown
end

--- Ask for suggestions at the cursor, also several.
function M.suggest()
  local buffer = vim.api.nvim_get_current_buf()
  local objection = client.attach(buffer)
  if objection then
    return notify.warn('no suggestions here: ' .. objection)
  end
  if not vim.bo[buffer].modifiable or vim.bo[buffer].readonly then
    return notify.warn('no suggestions here: this buffer is read-only')
  end
  if not is_wanted(buffer) then
    return
  end
  request(buffer, INVOKED, function(texts)
    if #texts == 0 then
      hide()
      notify.info('no suggestion here')
    else
      -- The server gives the first, and computes the others: `cycle` asks for them.
      show(buffer, texts, #texts > 1)
    end
  end)
end

--- Ask for other candidates than the one that is shown, and show the one that is `step` from it.
local function ask_for_more(current, step)
  local buffer = shown.buffer
  request(buffer, INVOKED, function(texts)
    if not vim.tbl_contains(texts, current) then
      table.insert(texts, 1, current)
    end
    local at = 1
    for number, text in ipairs(texts) do
      at = text == current and number or at
    end
    show(buffer, texts, true, (at - 1 + step) % #texts + 1)
    if #texts == 1 then
      notify.info('no other suggestion here')
    end
  end)
end

--- Show another candidate; asks for more where typing brought only one.
---@param step integer
---@return boolean whether ghost text was shown
function M.cycle(step)
  if not refresh() then
    hide()
    return false
  end
  local found, index = rests()
  if #found == 1 and not shown.is_complete then
    ask_for_more(found[1], step)
    return true
  end
  local chosen = found[(index - 1 + step) % #found + 1]
  local so_far = typed()
  for number, text in ipairs(shown.texts) do
    if text == so_far .. chosen then
      shown.index = number
    end
  end
  refresh()
  return true
end

vim.api.nvim_set_hl(0, 'IngleGhost', { default = true, link = compat.ghost_highlight() })
vim.api.nvim_set_hl(0, 'IngleHint', { default = true, link = 'Comment' })

return M

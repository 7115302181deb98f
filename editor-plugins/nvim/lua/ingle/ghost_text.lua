--- Draws ghost text: its first line at the cursor, the others below.
---
--- From Neovim 0.10 the first line is inline virtual text, which moves what stands after the
--- cursor. Before, it lies over the place after the cursor, and what stands there is drawn again
--- after it. Text of several lines with more text after the cursor is drawn as it will be, too:
--- what stands after the cursor comes after the last line.

local compat = require('ingle.compat')

local M = {}

local namespace = vim.api.nvim_create_namespace('ingle.ghost')

--- Virtual text shows no tabs: spaces, as far as the next tab stop.
local function without_tabs(text, column)
  if not text:find('\t', 1, true) then
    return text
  end
  local tabstop = vim.bo.tabstop
  local parts = {}
  for piece, tab in text:gmatch('([^\t]*)(\t?)') do
    column = column + vim.fn.strdisplaywidth(piece, column)
    table.insert(parts, piece)
    if tab ~= '' then
      local width = tabstop - column % tabstop
      table.insert(parts, (' '):rep(width))
      column = column + width
    end
  end
  return table.concat(parts)
end

--- Lines below the cursor's that the window has room for.
local function room_below()
  return vim.api.nvim_win_get_height(0) - vim.fn.winline()
end

---@param buffer integer the current buffer
---@param row integer
---@param column integer of the cursor, in bytes
---@param text string
---@param hint string what else there is to say; may be empty
function M.draw(buffer, row, column, text, hint)
  M.clear(buffer)
  local lines = vim.split(text, '\n', { plain = true })
  local line = vim.api.nvim_buf_get_lines(buffer, row, row + 1, false)[1]
  local start = vim.fn.strdisplaywidth(line:sub(1, column))
  local first = without_tabs(lines[1], start)
  local rest = line:sub(column + 1)
  local is_inline = compat.has_inline_text and (#lines == 1 or rest == '')
  local head = { { first, 'IngleGhost' } }
  if not is_inline and rest ~= '' then
    local width = vim.fn.strdisplaywidth(first, start)
    local rest_width = vim.fn.strdisplaywidth(rest, start)
    if #lines == 1 then
      table.insert(head, { without_tabs(rest, start + width) })
    else
      table.insert(head, { (' '):rep(math.max(rest_width - width, 0)) })
    end
  end
  local below = {}
  for number = 2, #lines do
    below[number - 1] = { { without_tabs(lines[number], 0), 'IngleGhost' } }
  end
  if #below > 0 and rest ~= '' then
    local width = vim.fn.strdisplaywidth(lines[#lines])
    table.insert(below[#below], { without_tabs(rest, width) })
  end
  local hidden = #below - room_below()
  if hidden > 0 then
    hint = vim.trim(('%s +%d lines'):format(hint, hidden))
  end
  if hint ~= '' and not compat.has_inline_text and rest == '' then
    -- An overlay at the end of a line would lie over the text of another mark there.
    table.insert(head, { '  ' .. hint, 'IngleHint' })
    hint = ''
  end
  vim.api.nvim_buf_set_extmark(buffer, namespace, row, column, {
    virt_text = head,
    virt_text_pos = is_inline and 'inline' or 'overlay',
    virt_lines = #below > 0 and below or nil,
    hl_mode = 'combine',
  })
  if hint ~= '' then
    vim.api.nvim_buf_set_extmark(buffer, namespace, row, #line, {
      virt_text = { { ' ' .. hint, 'IngleHint' } },
      virt_text_pos = 'eol',
    })
  end
end

---@param buffer integer
function M.clear(buffer)
  vim.api.nvim_buf_clear_namespace(buffer, namespace, 0, -1)
end

return M

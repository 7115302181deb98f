--- Places in a buffer (rows and bytes from 0) and in LSP (lines and units of an encoding).
---
--- A span is `{ row, column, end_row, end_column }`, its end exclusive, as Neovim's functions take
--- them; it becomes an LSP range when the server, and so its encoding, is there.

local compat = require('ingle.compat')

local M = {}

local function line_of(buffer, row)
  return vim.api.nvim_buf_get_lines(buffer, row, row + 1, false)[1] or ''
end

---@param buffer integer
---@param row integer
---@param column integer
---@param encoding string
---@return table position
function M.position(buffer, row, column, encoding)
  return { line = row, character = compat.units(line_of(buffer, row), column, encoding) }
end

--- The byte column of an LSP position.
---@param buffer integer
---@param position table
---@param encoding string
---@return integer
function M.column(buffer, position, encoding)
  return compat.bytes(line_of(buffer, position.line), position.character, encoding)
end

---@param buffer integer
---@param span integer[]
---@param encoding string
---@return table range
function M.range(buffer, span, encoding)
  return {
    start = M.position(buffer, span[1], span[2], encoding),
    ['end'] = M.position(buffer, span[3], span[4], encoding),
  }
end

--- The cursor of the current window.
---@return integer row
---@return integer column
function M.cursor()
  local place = vim.api.nvim_win_get_cursor(0)
  return place[1] - 1, place[2]
end

--- An empty span at a window's cursor.
---@param window integer
---@return integer[] span
function M.at_cursor(window)
  local place = vim.api.nvim_win_get_cursor(window)
  return { place[1] - 1, place[2], place[1] - 1, place[2] }
end

--- A whole buffer.
---@param buffer integer
---@return integer[] span
function M.whole(buffer)
  local last = vim.api.nvim_buf_line_count(buffer) - 1
  return { 0, 0, last, #line_of(buffer, last) }
end

--- What a command's range means: the selection if it came from one, else whole lines.
---@param buffer integer
---@param first integer from 1
---@param last integer
---@return integer[] span
function M.of_command(buffer, first, last)
  local line = line_of(buffer, last - 1)
  local from = vim.api.nvim_buf_get_mark(buffer, '<')
  local to = vim.api.nvim_buf_get_mark(buffer, '>')
  if vim.fn.visualmode() ~= 'v' or from[1] ~= first or to[1] ~= last then
    return { first - 1, 0, last - 1, #line }
  end
  -- The mark is on the last character; a span ends after it, with all of its bytes.
  local after = to[2] + 1
  while after < #line and line:byte(after + 1) >= 0x80 and line:byte(after + 1) < 0xC0 do
    after = after + 1
  end
  return { first - 1, from[2], last - 1, math.min(after, #line) }
end

return M

--- What goes with the next question: files, and parts of files that are marked, so that they stay
--- with their text while it is edited.

local client = require('ingle.client')
local notify = require('ingle.notify')
local positions = require('ingle.positions')

local M = {}

--- Each: `buffer`; `mark`, an extmark around a part, or nil for the whole file.
local items = {}

local marks = vim.api.nvim_create_namespace('ingle.context')

local function span_of(item)
  local found = vim.api.nvim_buf_get_extmark_by_id(item.buffer, marks, item.mark, {
    details = true,
  })
  return { found[1], found[2], found[3].end_row, found[3].end_col }
end

--- The items whose files are still open.
local function existing(of)
  return vim.tbl_filter(function(item)
    return vim.api.nvim_buf_is_loaded(item.buffer)
  end, of)
end

--- A file's name as it is shown.
---@param buffer integer
---@return string
function M.name_of(buffer)
  return vim.fn.fnamemodify(vim.api.nvim_buf_get_name(buffer), ':~:.')
end

--- `a.py:3-9`, of rows from 0 and an exclusive end.
local function label(name, row, end_row, end_column)
  if end_column == 0 and end_row > row then
    end_row = end_row - 1
  end
  if row == end_row then
    return ('%s:%d'):format(name, row + 1)
  end
  return ('%s:%d-%d'):format(name, row + 1, end_row + 1)
end

--- What goes with the next question, item by item.
---@return string[]
function M.labels()
  return vim.tbl_map(function(item)
    local name = M.name_of(item.buffer)
    local span = item.mark and span_of(item)
    return span and label(name, span[1], span[3], span[4]) or name
  end, existing(items))
end

--- What went with a question, as the server has it.
---@param sent table[]
---@return string[]
function M.labels_of(sent)
  return vim.tbl_map(function(item)
    local ok, file = pcall(vim.uri_to_fname, item.uri)
    local name = ok and vim.fn.fnamemodify(file, ':~:.') or item.uri
    local range = item.range
    return range and label(name, range.start.line, range['end'].line, range['end'].character)
      or name
  end, sent)
end

--- Add a buffer or a part of it.
---@param buffer integer
---@param span integer[]|nil the whole buffer if nil
---@return boolean
function M.add(buffer, span)
  local objection = client.attach(buffer)
  if objection then
    notify.warn(objection)
    return false
  end
  local item = { buffer = buffer }
  if span then
    item.mark = vim.api.nvim_buf_set_extmark(buffer, marks, span[1], span[2], {
      end_row = span[3],
      end_col = span[4],
      -- What is typed at the edges belongs to it.
      right_gravity = false,
      end_right_gravity = true,
    })
  end
  table.insert(items, item)
  return true
end

--- Take everything out, for a question; `give_back` or `release` must follow.
---@return table taken
function M.take()
  local taken = items
  items = {}
  return taken
end

--- The question was not answered: the next one is about the same.
---@param taken table
function M.give_back(taken)
  items = vim.list_extend(taken, items)
end

---@param taken table
function M.release(taken)
  for _, item in ipairs(existing(taken)) do
    if item.mark then
      vim.api.nvim_buf_del_extmark(item.buffer, marks, item.mark)
    end
  end
end

function M.clear()
  M.release(M.take())
end

--- What was taken, as the server has it.
---@param taken table
---@return table[]
function M.as_sent(taken)
  return vim.tbl_map(function(item)
    local span = item.mark and span_of(item)
    return {
      uri = vim.uri_from_bufnr(item.buffer),
      range = span and positions.range(item.buffer, span, client.encoding()) or nil,
    }
  end, existing(taken))
end

return M

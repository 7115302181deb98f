--- Shows a text in Markdown in a window beside, like a help page. The cursor stays where it is: the
--- text comes seconds after it was asked for, and its user may be typing.

local windows = require('ingle.windows')

local M = {}

local NAME = 'ingle://explanation'

---@type integer|nil
local shown_in

local function buffer()
  if shown_in and vim.api.nvim_buf_is_valid(shown_in) then
    return shown_in
  end
  shown_in = vim.api.nvim_create_buf(false, true)
  vim.api.nvim_buf_set_name(shown_in, NAME)
  vim.bo[shown_in].bufhidden = 'hide'
  vim.bo[shown_in].swapfile = false
  vim.bo[shown_in].filetype = 'markdown'
  vim.keymap.set('n', 'q', '<Cmd>close<CR>', {
    buffer = shown_in,
    desc = 'ingle: close the explanation',
  })
  return shown_in
end

---@param title string
---@param markdown string
function M.show(title, markdown)
  local target = buffer()
  local lines = vim.split(markdown, '\n', { plain = true })
  if not lines[1]:find('^# ') then
    lines = vim.list_extend({ '# ' .. title:gsub('\n', ' '), '' }, lines)
  end
  vim.bo[target].modifiable = true
  vim.api.nvim_buf_set_lines(target, 0, -1, false, lines)
  vim.bo[target].modifiable = false
  local window = windows.open(target, true)
  vim.api.nvim_win_set_cursor(window, { 1, 0 })
end

return M

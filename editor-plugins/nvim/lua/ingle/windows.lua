--- Windows for buffers that come by themselves. The current window stays the current one: its user
--- may be typing.

local config = require('ingle.config')

local M = {}

--- How text in Markdown is best read.
local READING = 'setlocal wrap linebreak nonumber norelativenumber nolist nospell '
  .. 'signcolumn=no foldcolumn=0'

--- Show a buffer, if no window of this tab page does.
---@param buffer integer
---@param for_reading boolean|nil whether it is text in Markdown
---@return integer window
function M.open(buffer, for_reading)
  for _, window in ipairs(vim.api.nvim_tabpage_list_wins(0)) do
    if vim.api.nvim_win_get_buf(window) == buffer then
      return window
    end
  end
  local before = vim.api.nvim_get_current_win()
  vim.cmd('noautocmd ' .. config.options.chat_window)
  local window = vim.api.nvim_get_current_win()
  vim.api.nvim_win_set_buf(window, buffer)
  if for_reading then
    vim.api.nvim_win_call(window, function()
      vim.cmd(READING)
    end)
  end
  vim.cmd(('noautocmd call win_gotoid(%d)'):format(before))
  return window
end

return M

--- What the language server last said of the daemon and its model (`ingle/status`).

local M = {}

---@type table|nil
M.current = nil

local function changed()
  vim.api.nvim_exec_autocmds('User', { pattern = 'IngleStatus', modeline = false })
  vim.cmd('redrawstatus')
end

---@param status table
function M.set(status)
  M.current = status
  changed()
end

--- The language server is gone; `text` says so in a few words.
---@param text string
function M.gone(text)
  M.current = { state = 'gone', text = text, enabled = false }
  changed()
end

---@return string
function M.line()
  return M.current and M.current.text or ''
end

return M
